"""Late readings, by a real local Spark: literal readings in, exact records of the late topic out."""

import json
from datetime import UTC, datetime
from typing import Any

import jsonschema
from pyspark.sql import SparkSession
from records import CONTRACT, GOOD, KAFKA, NOON, RAW, as_bytes, changed, marker, parse, raw, reading
from service import contract
from stream import Stream
from windows_job.late import late

CLOSED = datetime(2026, 1, 1, 10, 1, tzinfo=UTC)  # the watermark: the windows up to 10:01 are closed


def milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def late_records(spark: SparkSession, *values: str, watermark: int = milliseconds(CLOSED)) -> dict[str, dict[str, Any]]:
    """The late ones of these values by their key."""
    rows = late(parse(raw(spark, *values), CONTRACT), CONTRACT, "1 minute", watermark).collect()
    return {row.key: json.loads(row.value) for row in rows}


def test_a_late_reading_is_written_with_its_window_and_the_watermark(spark: SparkSession) -> None:
    value = as_bytes(changed(time="2026-01-01T12:00:30.5+02:00", entity=7, vin="V"))
    records = spark.createDataFrame([(b"7", value, RAW, 1, 2**40, NOON)], KAFKA)
    [row] = late(parse(records, CONTRACT), CONTRACT, "1 minute", milliseconds(CLOSED)).collect()
    assert row.key == f"1/{2**40}"
    record = json.loads(row.value)
    assert record == {
        "time": "2026-01-01T10:00:30.500Z",
        "entity": "7",
        **{name: record[name] for name in record if name not in ("time", "entity", "temp", "humidity")},
        "temp": 20.0,
        "humidity": 35.0,
        "seq": 1,
        "vin": "V",
        "window_start": "2026-01-01T10:00:00.000Z",
        "window_end": "2026-01-01T10:01:00.000Z",
        "watermark": "2026-01-01T10:01:00.000Z",
        "partition": 1,
        "offset": 2**40,
    }
    jsonschema.Draft202012Validator(contract.topics()["late"].schema).validate(record)
    assert list(record) == list(contract.topics()["late"].schema["properties"])


def test_a_reading_is_late_when_its_window_ends_at_the_watermark_or_before(spark: SparkSession) -> None:
    values = [
        reading("10:00:59.999", 1, 20.0),
        reading("10:01:00.000", 2, 20.0),
        reading("09:00:00.000", 3, 20.0, seq=None),
        "not json",
        changed(temp=99),
        marker("10:00:00.000"),
    ]
    found = late_records(spark, *values)
    assert {key: record["entity"] for key, record in found.items()} == {"0/0": "1", "0/2": "3"}
    assert found["0/2"]["seq"] is None and found["0/2"]["vin"] is None
    assert late_records(spark, *values, watermark=milliseconds(CLOSED) - 1).keys() == {"0/2"}
    assert late_records(spark, *values, watermark=0) == {}


def test_whatever_the_encoding_the_record_has_the_fields(spark: SparkSession) -> None:
    value = json.dumps(json.loads(GOOD) | {"vin": "é", "more": [1]}).encode("utf-16")
    records = spark.createDataFrame([(None, value, RAW, 0, 0, NOON)], KAFKA)
    [row] = late(parse(records, CONTRACT), CONTRACT, "1 minute", milliseconds(CLOSED)).collect()
    assert json.loads(row.value)["vin"] == "é"


def test_what_is_late_is_what_spark_leaves_out_of_the_windows(stream: Stream) -> None:
    stream.batch(reading("10:00:10.000", 1, 20.0), reading("10:04:00.000", 9, 20.0))
    # The watermark is 10:01:00 now. A batch around it, and one that closes all of its windows.
    batch = [reading(time, 5, 20.0) for time in ("09:00:00.000", "10:00:59.999", "10:01:00.000", "10:02:00.000")]
    stream.batch(*batch)
    closed = stream.batch(reading("10:30:00.000", 9, 20.0))
    counted = sum(count for _, entity, count in closed if entity == "5")
    assert counted == len(batch) - len(late_records(stream.spark, *batch)) == 2
