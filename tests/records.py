"""Records as Spark's Kafka source gives them, made from literal values, and what the job makes of them."""

import json
from datetime import datetime
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from repository import windows_job_script
from service import contract
from windows_job import validation
from windows_job.aggregation import aggregate
from windows_job.reading import Form

RAW, CONTROL = "sensor-data-raw", "sensor-data-control"
SIGNALS = "temp", "humidity"
KAFKA = "key BINARY, value BINARY, topic STRING, partition INT, offset BIGINT, timestamp TIMESTAMP"  # Spark's source
GOOD = '{"time":"2026-01-01T10:00:00.000Z","entity":1,"temp":20.0,"humidity":35.0,"seq":1}'
NOON = datetime.fromisoformat("2026-01-01T12:00:00Z")

Value = str | bytes | None


def form(*more: str, required: bool = False, default: bool = True) -> Form:
    """The form of a reading with the signals temp, humidity and `more`, signals of 0 to 250 km/h.

    With `default`, the generator sends these too.
    """
    schema = contract.topics()["raw"].schema
    fields = {name: field for name, field in schema["properties"].items() if name in SIGNALS or "x-unit" not in field}
    signal = {"type": ["number", "null"], "minimum": 0, "maximum": 250, "x-unit": "km/h", "description": "speed"}
    names = ["time", "entity", *(more if required else ())]
    properties = fields | dict.fromkeys(more, signal)
    return Form.of(
        {"properties": properties, "required": names, "x-default-signals": [*SIGNALS, *(more if default else ())]}
    )


FORM = form()
CONTRACT = Form.of(contract.topics()["raw"].schema)  # with all signals, which aggregations() may use


def aggregations() -> list[Column]:
    """Those of pyspark.py."""
    columns: list[Column] = windows_job_script().aggregations()
    return columns


def parse(records: DataFrame, form: Form = FORM) -> DataFrame:
    parsed = validation.with_reason(validation.parse(records, form, CONTROL), form)
    return parsed.withColumn("entity", validation.entity())


def windows(records: DataFrame, watermark: str = "3 minutes") -> DataFrame:
    """The windows of a minute that records make up."""
    fields = validation.fields(parse(records, CONTRACT), CONTRACT)
    return aggregate(fields, aggregations(), "1 minute", watermark)


def as_bytes(value: Value) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def raw(spark: SparkSession, *values: Value, topic: str = RAW) -> DataFrame:
    """Records that reached the broker at noon, in the order of their offsets."""
    rows = [(None, as_bytes(value), topic, 0, offset, NOON) for offset, value in enumerate(values)]
    return spark.createDataFrame(rows, KAFKA)


def reading(time: str, entity: int | str, temp: float, humidity: float = 35.0, seq: int | None = 1) -> str:
    return json.dumps({"time": f"2026-01-01T{time}Z", "entity": entity, "temp": temp, "humidity": humidity, "seq": seq})


def changed(**fields: Any) -> str:
    """A reading with other fields."""
    return json.dumps(json.loads(reading("10:00:00.000", 1, 20.0)) | fields)


def literal(name: str, text: str) -> str:
    """A reading with a field written like this."""
    return changed(**{name: "@"}).replace('"@"', text)


def marker(time: str) -> str:
    """As the windows job sends it."""
    return json.dumps({"time": f"2026-01-01T{time}Z", **FORM.marker()})
