"""Write the results of bench.py into README.md and the pages in docs, between markers, and draw the chart.

A unit test compares the pages with the results. Run after `make bench`: .local/venv/bin/python benchmarks/tables.py
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scaling_tables import costs, scaling, sizing
from table_text import Row, figure, in_turns, table, under

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks/results"
CHART = ROOT / "docs/performance.png"
PAGES = [ROOT / "README.md", ROOT / "docs/performance.md", ROOT / "docs/scaling.md"]
MARKED = re.compile(r"(<!-- bench (\S+) -->\n).*?(<!-- /bench -->)", re.S)

Cell = Callable[[Row], str]


def load() -> dict[str, Any]:
    """The results by case."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}


def count(name: str) -> Cell:
    return lambda row: f"{row[name]:,}"


def rounded(name: str) -> Cell:
    return lambda row: figure(row[name])


def listed(result: Row, columns: dict[str, Cell]) -> str:
    """A line per row of the result; `columns` are the headings, and what to show below them."""
    lines = [[cell(row) for cell in columns.values()] for row in result["rows"]]
    return table(list(columns), lines) + under(result)


def compared(rows: list[Row], baseline: str) -> str:
    """A line per contender: rate, CPU, memory, and rate and CPU as multiples of the baseline's."""
    base = next(row for row in rows if row["contender"] == baseline)
    return table(
        ["", "records/s", "CPU s per million", "lowest to highest", "MiB", "rate", "CPU per record"],
        [
            [
                row["contender"],
                figure(row["records/s"]),
                figure(row["CPU s/M"]),
                " to ".join(map(figure, row["CPU s/M, lowest and highest"])),
                figure(row["memory MiB"]),
                f"x {row['records/s'] / base['records/s']:.2f}",
                f"x {row['CPU s/M'] / base['CPU s/M']:.3f}",
            ]
            for row in rows
        ],
    )


def producer(result: Row) -> str:
    return compared(result["rows"], "the original's way") + in_turns(result)


def windows(result: Row) -> str:
    topics = list(dict.fromkeys(row["topic"] for row in result["rows"]))
    tables = [
        f"{topic}\n\n" + compared([row for row in result["rows"] if row["topic"] == topic], "the original's query")
        for topic in topics
    ]
    return "\n".join(tables) + in_turns(result)


def freshness(result: Row) -> str:
    """The latency of a row until it can be queried, then what each part uses at the default load."""
    latencies = [row for row in result["rows"] if row["measured"] != "use"]
    uses = [row for row in result["rows"] if row["measured"] == "use"]
    percentiles = [f"{name} ms" for name in ("p50", "p95", "p99")]
    lines = [
        [f"{row['load']}: {row['measured']}", f"{row['records/s']:,.0f}", *(figure(row[name]) for name in percentiles)]
        for row in latencies
    ]
    use = table(["part", "cores", "MiB"], [[row["part"], f"{row['cores']:.3f}", figure(row["MiB"])] for row in uses])
    return (
        table(["", "records/s", *percentiles], lines)
        + f"\nCPU and memory of each part at the default load, without queries:\n\n{use}"
        + under(result)
    )


def sustained(result: Row) -> str:
    """A line per rate: whether it holds, how far the parts are behind, and what they use."""
    rows = result["rows"]
    busiest = sorted(rows[-1]["cores"], key=lambda part: -rows[-1]["cores"][part])[:5]
    lines = [
        [
            f"{row['wanted records/s']:,}",
            f"{row['records/s']:,}",
            "; ".join(row["why not"]) or "holds",
            *(f"{row['highest lag, records'][name]:,}" for name in ("windows job", "Druid")),
            *(f"{row['cores'][part]:.2f}" for part in busiest),
            f"{row['cores, all together']:.2f}",
        ]
        for row in rows
    ]
    headings = ["wanted records/s", "records/s", "", "windows job's lag", "Druid's lag", *busiest, "cores, all"]
    return table(headings, lines) + under(result)


def growth(result: Row) -> str:
    """The times of starts, recoveries and queries."""
    rows = result["rows"]
    starts = [row for row in rows if row["measured"] == "start"]
    parts = list(dict.fromkeys(row["part"] for row in rows if row["measured"] == "recovery"))
    marks = list(dict.fromkeys(row["what"] for row in rows if row["measured"] == "recovery"))
    recovered = {(row["part"], row["what"]): row for row in rows if row["measured"] == "recovery"}
    asked = [row for row in rows if row["measured"] == "query"]

    def seconds(row: Row) -> str:
        return f"{row['seconds']:.1f} ({row['lowest']:.1f} to {row['highest']:.1f})"

    return "\n".join(
        [
            table(["start", "seconds"], [[row["what"], seconds(row)] for row in starts]),
            table(
                ["killed", *(f"seconds {mark}" for mark in marks)],
                [[part, *(seconds(recovered[part, mark]) for mark in marks)] for part in parts],
            ),
            table(
                [f"query over {asked[0]['readings']:,} readings", "p50 ms", "p95 ms"],
                [[f"{row['query']}, {row['segments']}", figure(row["p50 ms"]), figure(row["p95 ms"])] for row in asked],
            ),
        ]
    ) + under(result)


def history(result: Row) -> str:
    """A line per query, over each span of time."""
    columns = {
        "query": lambda row: f"{row['query']}, over {row['span']}",
        "readings": count("readings"),
        "windows": count("windows"),
        "p50 ms": rounded("p50 ms"),
        "p95 ms": rounded("p95 ms"),
    }
    return listed(result, columns)


def backfill(result: Row) -> str:
    """A line per mark that a history reaches."""
    columns = {
        f"{result['rows'][0]['readings']:,} readings of the past": lambda row: row["what"],
        "seconds after the start of the generator": rounded("seconds"),
        "readings/s": count("readings/s"),
    }
    return listed(result, columns)


def ledger(result: Row) -> str:
    """A line per verification."""
    columns = {
        "readings verified before": count("verified before"),
        "readings to verify": count("readings"),
        "seconds": lambda row: f"{row['seconds']:,.1f}",
        "CPU s per million": rounded("CPU s/M"),
        "MiB": count("memory MiB"),
        "state file, KiB": count("state KiB"),
    }
    return listed(result, columns)


def summary(results: dict[str, Any]) -> str:
    """Ours against the original in each case, then the whole stack."""
    return compared_with_the_original(results) + "\n" + whole_stack(results) + under(results["windows"])


def compared_with_the_original(results: dict[str, Any]) -> str:
    lines = []
    for name, what, baseline in (
        ("producer", "readings made and sent, one process", "the original's way"),
        ("windows", "2 million readings into windows, cold start", "the original's query"),
        ("backlog", "10 million readings into windows", "the original's query"),
    ):
        rows = {row["contender"]: row for row in results[name]["rows"]}
        ours, base = rows["ours"], rows[baseline]
        lines.append(
            [
                what,
                figure(ours["records/s"]),
                figure(ours["CPU s/M"]),
                f"x {ours['records/s'] / base['records/s']:.1f}",
                f"1/{base['CPU s/M'] / ours['CPU s/M']:.1f}",
            ]
        )
    return table(["", "records/s", "CPU s per million", "the original's rate", "its CPU per record"], lines)


def whole_stack(results: dict[str, Any]) -> str:
    lines = []
    for row in results["freshness"]["rows"]:
        if row["measured"] == "raw":
            times = f"median {row['p50 ms'] / 1000:.2f} s, p99 {row['p99 ms'] / 1000:.2f} s"
            lines.append([f"how old a reading is when a query has it, {row['load']}", times])
        elif row["measured"] == "use" and row["part"] == "all together":
            lines.append([f"what all parts use, {row['load']}", f"{row['cores']:.2f} cores, {row['MiB']:,} MiB"])
    holding = [row for row in results["sustained"]["rows"] if not row["why not"]]
    lines.append(["highest rate tried that holds for five minutes", f"{holding[-1]['records/s']:,} records/s"])
    return table(["the whole stack on one machine", ""], lines)


SECTIONS: dict[str, Callable[[dict[str, Any]], str]] = {
    "producer": lambda results: producer(results["producer"]),
    "windows": lambda results: windows(results["windows"]),
    "backlog": lambda results: windows(results["backlog"]),
    "shapes": lambda results: windows(results["shapes"]),
    "entities": lambda results: compared(results["entities"]["rows"], "numbers") + in_turns(results["entities"]),
    "freshness": lambda results: freshness(results["freshness"]),
    "sustained": lambda results: sustained(results["sustained"]),
    "growth": lambda results: growth(results["growth"]),
    "history": lambda results: history(results["history"]),
    "backfill": lambda results: backfill(results["backfill"]),
    "ledger": lambda results: ledger(results["ledger"]),
    "scaling": lambda results: scaling(results["scaling"]),
    "costs": costs,
    "sizing": sizing,
    "summary": summary,
}


# Of sections that are not named for their case
CASES = {"summary": "windows", "costs": "scaling", "sizing": "scaling"}


def filled(page: str, results: dict[str, Any]) -> str:
    """The page with each marked section rendered from the results, and empty where there are none."""

    def rendered(match: re.Match[str]) -> str:
        name = match[2]
        text = SECTIONS[name](results) if CASES.get(name, name) in results else ""
        return f"{match[1]}{text}{match[3]}"

    return MARKED.sub(rendered, page)


def draw(results: dict[str, Any]) -> None:
    """Draw the CPU time per record of each contender, ours in colour."""
    from matplotlib.figure import Figure  # noqa: PLC0415, the unit test needs no matplotlib

    panels = [("Making and sending readings", results["producer"]["rows"])] + [
        (f"Readings into windows: {results[case]['rows'][0]['topic']}", results[case]["rows"])
        for case in ("windows", "backlog")
        if case in results
    ]
    chart = Figure(figsize=(10, 0.5 + 2.2 * len(panels)), layout="constrained")
    for axes, (title, rows) in zip(chart.subplots(len(panels), 1), panels, strict=True):
        names, costs = [row["contender"] for row in rows][::-1], [row["CPU s/M"] for row in rows][::-1]
        colours = ["#1f7a5c" if name.startswith("ours") else "#b8c0c8" for name in names]
        axes.bar_label(axes.barh(names, costs, color=colours), fmt="%.1f", padding=4)
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.12)
    chart.supxlabel("CPU seconds per million readings (less is better)", fontsize=10)
    chart.savefig(CHART, dpi=110)


def main() -> None:
    for path in PAGES:
        path.write_text(filled(path.read_text(), load()))
        print(f"{path.relative_to(ROOT)}: up to date")
    if {"producer", "windows"} <= load().keys():
        draw(load())


if __name__ == "__main__":
    main()
