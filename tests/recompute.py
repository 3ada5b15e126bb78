"""The windows, recomputed from the raw topic in plain Python: what Spark and Druid are compared with."""

import json
from bisect import bisect_right
from collections import defaultdict
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from kafka import KafkaConsumer, TopicPartition

RAW = "sensor-data-raw"
RANGES = {
    "temp": (-50, 60), "humidity": (0, 100), "speed": (0, 400), "odometer": (0, 10**7), "latitude": (-90, 90),
    "longitude": (-180, 180), "heading": (0, 360), "fuel_level": (0, 100), "tire_pressure": (0, 1500),
    "coolant_temp": (-50, 150),
}  # fmt: skip
Window = tuple[int, int]  # start in milliseconds since the epoch, vehicle


def messages(servers: str, topic: str) -> list[Any]:
    """Every committed record of a topic, as kafka-python gives it, in the order of each partition."""
    consumer = KafkaConsumer(
        bootstrap_servers=servers, isolation_level="read_committed", enable_auto_commit=False, consumer_timeout_ms=3000,
        max_partition_fetch_bytes=8 * 2**20,
    )  # fmt: skip
    partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    found = list(consumer)
    consumer.close()
    return found


def records(servers: str, topic: str) -> list[Any]:
    """The JSON of every committed record of a topic; None for a record that holds none."""
    return [_json(message.value) for message in messages(servers, topic)]


def _json(value: bytes) -> Any:
    try:
        return json.loads(value)
    except (ValueError, TypeError, RecursionError):  # the fuzzed messages nest deep
        return None


def on_time(
    raw: list[Any], tokens: list[dict[str, Any]], window_seconds: int, last_vehicle: int
) -> list[dict[str, Any]]:
    """The readings of vehicles 1 to `last_vehicle` in the raw topic that came before the job had closed their window.

    A batch leaves out a reading whose window ended at its watermark or earlier (Spark's documentation, "Handling Late
    Data and Watermarking"), which is where the batches before it have moved the watermark.
    """
    ends = {}
    for partition in {message.partition for message in raw}:
        ends[partition] = [token["offsets"].get(RAW, {}).get(str(partition), 0) for token in tokens]
    watermarks = [token["watermark"] for token in tokens]
    found = []
    for message in raw:
        reading = _json(message.value)
        if is_reading(reading, last_vehicle):
            batch = bisect_right(ends[message.partition], message.offset)
            length = window_seconds * 1000
            if millis(reading["time"]) // length * length + length > watermarks[batch]:
                found.append(reading)
    return found


def is_reading(record: Any, last_vehicle: int) -> bool:
    """Whether a record is a reading of the fleet: it has signals, each of its type and in its range, or null."""
    if not isinstance(record, dict) or not {"time", "entity", "seq", "vin"} <= set(record):
        return False
    values = {name: record[name] for name in RANGES if record.get(name) is not None}
    return (
        type(record["entity"]) is int
        and 1 <= record["entity"] <= last_vehicle
        and bool(values)
        and all(type(value) in (int, float) for value in values.values())
        and all(RANGES[name][0] <= value <= RANGES[name][1] for name, value in values.items())
        and "2000" < record["time"] < "2099"
    )


def millis(iso: str) -> int:
    return round(datetime.fromisoformat(iso).timestamp() * 1000)


def windows(readings: list[dict[str, Any]], window_seconds: int) -> dict[Window, dict[str, Any]]:
    """Every window of the readings, open ones too, by start and vehicle, with the values that the job should emit."""
    length = window_seconds * 1000
    members: dict[Window, list[dict[str, Any]]] = defaultdict(list)
    for reading in readings:
        members[millis(reading["time"]) // length * length, reading["entity"]].append(reading)
    return {window: values(inside) for window, inside in members.items()}


def values(readings: list[dict[str, Any]]) -> dict[str, Any]:
    temps = [Decimal(str(reading["temp"])) for reading in readings if reading.get("temp") is not None]
    humid = [reading for reading in readings if reading.get("humidity") is not None]
    latest = max(humid, key=lambda reading: (millis(reading["time"]), reading["seq"]), default={"humidity": None})
    average = float((sum(temps) / len(temps)).quantize(Decimal("0.01"), ROUND_HALF_UP)) if temps else None
    return {
        "count": len(readings),
        "avg_temp": average,
        "min_temp": float(min(temps)) if temps else None,
        "max_temp": float(max(temps)) if temps else None,
        "last_humidity": latest["humidity"],
    }


def emitted(rows: list[dict[str, Any]], last_vehicle: int) -> dict[Window, dict[str, Any]]:
    """Rows of the aggregated topic or datasource by window; fails where a window appears twice."""
    names = ("count", "avg_temp", "min_temp", "max_temp", "last_humidity")
    result: dict[Window, dict[str, Any]] = {}
    for row in rows:
        entity = row["entity"]
        vehicle = int(entity) if entity.isascii() and entity.isdecimal() else 0
        if not 1 <= vehicle <= last_vehicle:
            continue
        window = millis(row.get("window_start") or row["__time"]), vehicle
        assert window not in result, f"{window} came twice"
        result[window] = {name: row[name] for name in names}
    return result
