"""The tables of docs/scaling.md."""

from collections.abc import Callable
from typing import Any

from sizing import FLEETS, Size, measured, size
from table_text import Row, figure, in_turns, short, table


def scaling(result: Row) -> str:
    """For each part, a line per contender: its figures, and the rate and CPU as multiples of the first one's."""
    parts = list(dict.fromkeys(row["part"] for row in result["rows"]))
    return "\n".join(
        f"{part}\n\n" + scaled([row for row in result["rows"] if row["part"] == part]) for part in parts
    ) + in_turns(result)


def scaled(rows: list[Row]) -> str:
    base, brokers = rows[0], "brokers' CPU s/M"
    headings = ["", "records/s", "CPU s per million", "lowest to highest", "rate", "CPU per record"]
    lines = [
        [
            row["contender"],
            figure(row["records/s"]),
            figure(row["CPU s/M"]),
            " to ".join(map(figure, row["CPU s/M, lowest and highest"])),
            f"x {row['records/s'] / base['records/s']:.2f}",
            f"x {row['CPU s/M'] / base['CPU s/M']:.2f}",
        ]
        for row in rows
    ]
    if brokers in base:
        headings += ["brokers' CPU s per million", "x"]
        for line, row in zip(lines, rows, strict=True):
            line += [figure(row[brokers]), f"x {row[brokers] / base[brokers]:.2f}"]
    return table(headings, lines)


def costs(results: dict[str, Any]) -> str:
    """What sizing.size() computes with."""
    cost = measured(results)
    lines = [
        ["a reading in Kafka's log, one copy", f"{cost.stored_bytes:.0f} bytes"],
        ["a reading in Druid's segments", f"{cost.segment_bytes:.0f} bytes"],
        ["brokers: three copies of a reading, two readers", f"{figure(cost.brokers)} CPU s per million"],
        ["windows job: a reading", f"{figure(cost.job)} CPU s per million"],
        ["windows job, the driver's Python: a window", f"{figure(cost.driver)} CPU s per million"],
        ["one Druid task", f"{cost.task:,.0f} readings/s"],
        ["ledger: a reading", f"{figure(cost.ledger)} CPU s per million"],
    ]
    return table(["", "measured"], lines)


def sizing(results: dict[str, Any]) -> str:
    """What fleets from FLEETS need of each part."""
    sizes = [size(vehicles, measured(results)) for vehicles in FLEETS]
    tables = []
    for columns in (OF_KAFKA, OF_SPARK, OF_DRUID):
        lines = [[f"{each.vehicles:,}", *(cell(each) for cell in columns.values())] for each in sizes]
        tables.append(table(["vehicles", *columns], lines))
    return "\n".join(tables)


# Headings, and what is below them
OF_KAFKA: dict[str, Callable[[Size], str]] = {
    "readings/s": lambda each: f"{each.readings:,.0f}",
    "MB/s": lambda each: short(each.bytes_in / 1e6),
    "partitions": lambda each: f"{each.partitions:,}",
    "brokers' cores": lambda each: short(each.broker_cores),
    "disk of all brokers, GB": lambda each: short(each.disk / 1e9),
    "a partition, GB": lambda each: short(each.partition_bytes / 1e9),
}
OF_SPARK: dict[str, Callable[[Size], str]] = {
    "open windows": lambda each: f"{each.open_windows:,}",
    "Spark cores": lambda each: f"{each.spark_cores:,}",
    "heap, GiB": lambda each: short(each.heap / 2**30),
    "driver's Python, cores": lambda each: short(each.driver_cores),
    "ledger, cores": lambda each: short(each.ledger_cores),
}
OF_DRUID: dict[str, Callable[[Size], str]] = {
    "tasks": lambda each: f"{each.tasks:,}",
    "segments a day, GB": lambda each: short(each.segment_bytes / 1e9),
    "segments a day": lambda each: f"{each.segments:,}",
}
