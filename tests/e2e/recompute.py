"""The windows, computed from the raw topic by plain Python: what Spark and Druid are held against."""

import json
from collections import defaultdict
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from kafka import KafkaConsumer, TopicPartition

Window = tuple[int, int]  # start in milliseconds since the epoch, vehicle


def records(servers: str, topic: str) -> list[Any]:
    """The JSON of every committed record of a topic; None for a record that holds none."""
    consumer = KafkaConsumer(
        bootstrap_servers=servers, isolation_level="read_committed", enable_auto_commit=False, consumer_timeout_ms=3000
    )
    partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    found = [_json(record.value) for record in consumer]
    consumer.close()
    return found


def _json(value: bytes) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return None


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
    temps = [Decimal(str(reading["temp"])) for reading in readings]
    latest = max(readings, key=lambda reading: (millis(reading["time"]), reading["seq"]))
    average = (sum(temps) / len(temps)).quantize(Decimal("0.01"), ROUND_HALF_UP)
    return {
        "count": len(readings),
        "avg_temp": float(average),
        "min_temp": float(min(temps)),
        "max_temp": float(max(temps)),
        "last_humidity": latest["humidity"],
    }


def closed(found: dict[Window, dict[str, Any]], watermark: int, window_seconds: int) -> dict[Window, dict[str, Any]]:
    """Those of the windows whose end the watermark (milliseconds since the epoch) has reached."""
    return {window: value for window, value in found.items() if window[0] + window_seconds * 1000 <= watermark}


def emitted(rows: list[dict[str, Any]]) -> dict[Window, dict[str, Any]]:
    """Rows of the aggregated topic or datasource by window; fails where a window comes twice."""
    names = ("count", "avg_temp", "min_temp", "max_temp", "last_humidity")
    result: dict[Window, dict[str, Any]] = {}
    for row in rows:
        window = millis(row.get("window_start") or row["__time"]), row["entity"]
        assert window not in result, f"{window} came twice"
        result[window] = {name: row[name] for name in names}
    return result
