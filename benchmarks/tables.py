"""Write what bench.py found into README.md and docs/performance.md, between markers, and draw the picture.

A test holds the text and the results together. Run after `make bench`: .local/venv/bin/python benchmarks/tables.py
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks/results"
PICTURE = ROOT / "docs/performance.png"
PAGES = [ROOT / "README.md", ROOT / "docs/performance.md"]
MARKED = re.compile(r"(<!-- bench (\S+) -->\n).*?(<!-- /bench -->)", re.S)

Row = dict[str, Any]


def load() -> dict[str, Any]:
    """The results by case."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}


def figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def table(headings: list[str], rows: list[list[str]]) -> str:
    alignment = ["---"] + ["---:"] * (len(headings) - 1)
    return "".join(f"| {' | '.join(row)} |\n" for row in (headings, alignment, *rows))


def compared(rows: list[Row], baseline: str) -> str:
    """A line for each contender: rate, CPU, memory, and how many times the baseline's rate and CPU that is."""
    base = next(row for row in rows if row["contender"] == baseline)
    return table(
        ["", "records/s", "CPU s per million", "MiB", "rate", "CPU per record"],
        [
            [
                row["contender"],
                figure(row["records/s"]),
                figure(row["CPU s/M"]),
                figure(row["memory MiB"]),
                f"x {row['records/s'] / base['records/s']:.2f}",
                f"x {row['CPU s/M'] / base['CPU s/M']:.3f}",
            ]
            for row in rows
        ],
    )


def under(result: Row) -> str:
    """Where and with what it was measured."""
    machine, versions = result["machine"], result["versions"]
    with_ = ", ".join(f"{name} {number}" for name, number in versions.items())
    return (
        f"\nMedians of {result['rounds']} rounds in turns, {result['date']}; {machine['cores']} cores"
        f" ({machine['cpu']}), {machine['memory GiB']} GiB; {with_}.\n"
    )


def producer(result: Row) -> str:
    return compared(result["rows"], "the original's way") + under(result)


def windows(result: Row) -> str:
    topics = list(dict.fromkeys(row["topic"] for row in result["rows"]))
    tables = [
        f"{topic}\n\n" + compared([row for row in result["rows"] if row["topic"] == topic], "the original's query")
        for topic in topics
    ]
    return "\n".join(tables) + under(result)


def freshness(result: Row) -> str:
    """How old a row is when it can be queried, then what each part uses at the default load."""
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
        + f"\nAt the default load, while nobody asks Druid anything, the parts use\n\n{use}"
        + under(result)
    )


def summary(results: dict[str, Any]) -> str:
    """A line for what is ours in each case, against the original's."""
    lines = []
    for name, what, baseline in (
        ("producer", "readings made and sent, one process", "the original's way"),
        ("windows", "readings into windows", "the original's query"),
        ("backlog", "readings into windows", "the original's query"),
    ):
        if name not in results:
            continue
        for topic in dict.fromkeys(row.get("topic") for row in results[name]["rows"]):
            rows = {row["contender"]: row for row in results[name]["rows"] if row.get("topic") == topic}
            ours, base = rows["ours"], rows[baseline]
            lines.append(
                [
                    f"{what}{f', {topic}' if topic else ''}",
                    figure(ours["records/s"]),
                    figure(ours["CPU s/M"]),
                    f"x {ours['records/s'] / base['records/s']:.1f}",
                    f"1/{base['CPU s/M'] / ours['CPU s/M']:.1f}",
                ]
            )
    headings = ["", "records/s", "CPU s per million", "the original's rate", "its CPU per record"]
    return table(headings, lines) + under(results["windows"])


SECTIONS: dict[str, Callable[[dict[str, Any]], str]] = {
    "producer": lambda results: producer(results["producer"]),
    "windows": lambda results: windows(results["windows"]),
    "backlog": lambda results: windows(results["backlog"]),
    "shapes": lambda results: windows(results["shapes"]),
    "freshness": lambda results: freshness(results["freshness"]),
    "summary": summary,
}


def filled(page: str, results: dict[str, Any]) -> str:
    """The page with each marked section made anew."""
    return MARKED.sub(lambda match: f"{match[1]}{SECTIONS[match[2]](results)}{match[3]}", page)


def draw(results: dict[str, Any]) -> None:
    """The CPU time of a record in each case that has contenders, ours in colour."""
    from matplotlib.figure import Figure  # noqa: PLC0415, as the test of the pages does without it

    panels = [("Making and sending readings", results["producer"]["rows"])] + [
        (f"Readings into windows: {results[case]['rows'][0]['topic']}", results[case]["rows"])
        for case in ("windows", "backlog")
        if case in results
    ]
    picture = Figure(figsize=(10, 0.5 + 2.2 * len(panels)), layout="constrained")
    for axes, (title, rows) in zip(picture.subplots(len(panels), 1), panels, strict=True):
        names, costs = [row["contender"] for row in rows][::-1], [row["CPU s/M"] for row in rows][::-1]
        colours = ["#1f7a5c" if name.startswith("ours") else "#b8c0c8" for name in names]
        axes.bar_label(axes.barh(names, costs, color=colours), fmt="%.1f", padding=4)
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.12)
    picture.supxlabel("CPU seconds per million readings (less is better)", fontsize=10)
    picture.savefig(PICTURE, dpi=110)


def main() -> None:
    for path in PAGES:
        path.write_text(filled(path.read_text(), load()))
        print(f"{path.relative_to(ROOT)}: up to date")
    if {"producer", "windows"} <= load().keys():
        draw(load())


if __name__ == "__main__":
    main()
