"""Measure this project beside others, on the same data: see README.md and `make bench`.

The contenders of a case run in turns, round by round, so that other load on the machine affects all alike; results are
medians of the rounds. The cases freshness, sustained, growth, history and backfill run the whole stack.
"""

import os
import sys
from pathlib import Path

# The cases use the generator's package and that of the stack without Docker. Python finds neither by itself: it looks
# in this file's folder and, by the virtual environment, in common/.
sys.path.extend(str(Path(__file__).resolve().parents[1] / folder) for folder in ("sensor-data-generator", "local"))
# A stack of the benchmark's own. local_stack reads the variable when it is imported.
os.environ["STACK_DIR"] = str(Path(__file__).resolve().parents[1] / ".local/bench")

import fcntl
import json
import platform
import re
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any

import case_backfill
import case_growth
import case_history
import case_ledger
import case_live
import case_producer
import case_scaling
import case_windows
import case_windows_others
import psutil
import readings
import tables
from broker import broker
from local_stack.env_file import image_version
from local_stack.errors import StackError, Unhealthy
from local_stack.paths import ROOT, STACK
from measure import WrongResult

ROUNDS = int(os.environ.get("ROUNDS", "3"))

Row = dict[str, Any]


def rounds(case: str, contenders: dict[str, Callable[[], Row]]) -> list[Row]:
    """Run each contender ROUNDS times, in turns; a row for each."""
    found: dict[str, list[Row]] = {name: [] for name in contenders}
    for number in range(1, ROUNDS + 1):
        for name, run in contenders.items():
            row = run()
            found[name].append(row)
            print(f"{case}, round {number} of {ROUNDS}: {name}: {describe(row)}", flush=True)
    return [{"contender": name, **summary(rows)} for name, rows in found.items()]


def describe(row: Row) -> str:
    return ", ".join(f"{value:,.2f} {name}" for name, value in row.items())


def summary(rows: list[Row]) -> Row:
    """The medians of all rounds, and the lowest and highest of the main figures."""
    medians = {name: round(statistics.median(row[name] for row in rows), 2) for name in rows[0]}
    spread = {f"{name}, lowest and highest": [round(pick(row[name] for row in rows), 2) for pick in (min, max)]
              for name in ("records/s", "CPU s/M")}  # fmt: skip
    return {**medians, **spread}


def producer() -> list[Row]:
    def measured(run: Callable[[], case_producer.Sent]) -> Callable[[], Row]:
        def row() -> Row:
            sent = run()
            return {
                "records/s": sent.records / sent.seconds,
                "CPU s/M": sent.cpu / sent.records * 1e6,
                "memory MiB": sent.peak,
            }

        return row

    with broker():
        return rounds("producer", {name: measured(run) for name, run in case_producer.CONTENDERS.items()})


Shapes = dict[readings.Shape, dict[str, Callable[..., case_windows.Drained]]]
PEERS = {"ours": case_windows.ours, "the original's query": case_windows.original}
OTHERS = {"Kafka Streams, exactly once": case_windows_others.kafka_streams, "Flink SQL": case_windows_others.flink}
SHORT: Shapes = {readings.Shape(2_000_000, 200): PEERS | OTHERS}
LONG: Shapes = {readings.Shape(10_000_000, 200): PEERS | OTHERS}
LARGE = {"ours, spark_driver_memory = 2g": partial(case_windows.ours, SPARK_DRIVER_MEMORY="2g")}
OTHER_SHAPES: Shapes = {
    readings.Shape(2_000_000, 200, disorder=0.05): PEERS,
    readings.Shape(2_000_000, 10_000): PEERS,
    readings.Shape(2_000_000, 100_000): LARGE | {"the original's query": case_windows.original},
    readings.Shape(10_000_000, 100_000, rate=20_000): PEERS,
    readings.Shape(2_000_000, 200, window=10): {name: partial(run, window=10) for name, run in PEERS.items()},
}


def windows(shapes: Shapes) -> list[Row]:
    found = []
    for shape, runs in shapes.items():
        with broker():
            found += [{"topic": shape.name, **row} for row in rounds(shape.name, on_topic(shape, runs))]
    return found


def on_topic(
    shape: readings.Shape, runs: dict[str, Callable[..., case_windows.Drained]]
) -> dict[str, Callable[[], Row]]:
    """The contenders on a topic of that shape, which is filled first."""
    print(f"windows: filling a topic with {shape.rows:,} readings", flush=True)
    topic, all_windows = readings.fill(shape)
    expected = readings.closed(shape, all_windows)

    def row(run: Callable[..., case_windows.Drained]) -> Row:
        drained = run(topic, expected)
        return {
            "records/s": shape.rows / drained.seconds,
            "CPU s/M": drained.cpu / shape.rows * 1e6,
            "memory MiB": drained.peak,
        }

    return {name: partial(row, run) for name, run in runs.items()}


def entities() -> list[Row]:
    """Vehicles that are named by a text beside vehicles that are numbered."""
    with broker():
        contenders = on_topic(readings.Shape(10_000_000, 200), {"numbers": case_windows.ours})
        contenders |= on_topic(readings.Shape(10_000_000, 200, text=True), {"texts": case_windows.ours})
        return rounds("entities", contenders)


CASES: dict[str, Callable[[], list[Row]]] = {
    "producer": producer,
    "windows": partial(windows, SHORT),
    "backlog": partial(windows, LONG),
    "shapes": partial(windows, OTHER_SHAPES),
    "entities": entities,
    "freshness": case_live.freshness,
    "sustained": case_live.sustained,
    "growth": case_growth.growth,
    "history": case_history.history,
    "backfill": case_backfill.backfill,
    "ledger": case_ledger.ledger,
    "scaling": partial(case_scaling.scaling, rounds),
}


def machine() -> Row:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return {
        "cpu": model,
        "cores": psutil.cpu_count(),
        "memory GiB": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
    }


def versions() -> Row:
    packages = ("pyspark", "kafka-python", "confluent-kafka")
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "kafka": image_version("KAFKA_IMAGE", os.environ),
        "druid": image_version("DRUID_IMAGE", os.environ),
        "flink": re.findall("<flink.version>(.*)</flink.version>", (ROOT / "benchmarks/flink.pom.xml").read_text())[0],
    }


def main() -> None:
    wanted = os.environ.get("CASE")
    if wanted and wanted not in CASES:
        sys.exit(f"CASE is {wanted!r}: it must be one of {', '.join(CASES)}.")
    STACK.mkdir(parents=True, exist_ok=True)
    tables.RESULTS.mkdir(exist_ok=True)
    lock = (STACK / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until this process ends
    except BlockingIOError:
        sys.exit(
            "Another `make bench` runs in this repository, and each would distort the other's figures: wait for it."
        )
    failed = []
    for name in [wanted] if wanted else CASES:
        start = time.monotonic()
        try:
            rows = CASES[name]()
        except (WrongResult, StackError, Unhealthy) as error:
            print(f"{name}: no result: {error}", flush=True)
            failed.append(name)
            continue
        result = {
            "case": name,
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "versions": versions(),
            "rounds": ROUNDS,
            "minutes": round((time.monotonic() - start) / 60, 1),
            "rows": rows,
        }
        path = tables.RESULTS / f"{name}.json"
        path.write_text(json.dumps(result, indent=2) + "\n")
        print(f"{name}: written to {path.relative_to(ROOT)}", flush=True)
        if name in tables.SECTIONS:
            print(f"\n{tables.SECTIONS[name]({name: result})}", flush=True)
    if failed:
        sys.exit(f"No result of {', '.join(failed)}: the reasons are above.")


if __name__ == "__main__":
    main()
