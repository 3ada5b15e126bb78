"""Records as Spark's Kafka source gives them, made from literal values, and what the job makes of them."""

import json
from datetime import datetime
from importlib import import_module
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from rooms import windows_job

job = windows_job()
contract, session = import_module("contract"), import_module("session")  # its neighbours


def parse(records: DataFrame) -> DataFrame:
    parsed: DataFrame = contract.parse(records, job.kafka_control_topic)
    return parsed


RAW, CONTROL = "sensor-data-raw", "sensor-data-control"
KAFKA = "key BINARY, value BINARY, topic STRING, partition INT, offset BIGINT, timestamp TIMESTAMP"  # Spark's source
GOOD = '{"time":"2026-01-01T10:00:00.000Z","entity":1,"temp":20.0,"humidity":35.0,"seq":1}'
NOON = datetime.fromisoformat("2026-01-01T12:00:00Z")

Value = str | bytes | None


def as_bytes(value: Value) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def raw(spark: SparkSession, *values: Value, topic: str = RAW) -> DataFrame:
    """Records that reached the broker at noon, in the order of their offsets."""
    rows = [(None, as_bytes(value), topic, 0, offset, NOON) for offset, value in enumerate(values)]
    return spark.createDataFrame(rows, KAFKA)


def reading(time: str, entity: int, temp: float, humidity: float = 35.0, seq: int | None = 1) -> str:
    return json.dumps({"time": f"2026-01-01T{time}Z", "entity": entity, "temp": temp, "humidity": humidity, "seq": seq})


def changed(**fields: Any) -> str:
    """A reading with other fields."""
    return json.dumps(json.loads(reading("10:00:00.000", 1, 20.0)) | fields)


def literal(name: str, text: str) -> str:
    """A reading with a field written like this."""
    return changed(**{name: "@"}).replace('"@"', text)


def marker(time: str) -> str:
    """As close_last_windows() writes it."""
    reading = {"time": f"2026-01-01T{time}Z", "entity": 0, "temp": 0, "humidity": 0}
    return json.dumps(reading | {"closes": {"0": 5, "1": 8}, "watermark": 1767261660000})
