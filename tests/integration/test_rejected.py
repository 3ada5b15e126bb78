"""Rejected records, by a real local Spark: literal records in, exact records of the rejected topic out."""

import base64
import json
from typing import Any

import jsonschema
from judged_records import NOT_OBJECT
from pyspark.sql import SparkSession
from records import FORM, GOOD, KAFKA, NOON, RAW, parse, raw
from service import contract
from windows_job import validation
from windows_job.sink import MAX_RECORD_BYTES


def rejected(spark: SparkSession, *records: tuple[Any, ...]) -> dict[str, dict[str, Any]]:
    """The rejected ones of (key, value, topic, partition, offset, timestamp) by their key."""
    rows = validation.rejected(parse(spark.createDataFrame(list(records), KAFKA)), FORM).collect()
    return {row.key: json.loads(row.value) for row in rows}


def test_a_rejected_record_tells_where_it_was_and_keeps_its_bytes(spark: SparkSession) -> None:
    values = [b'\x00\xff\xfe\n"\\ not json \xc3\xa9', GOOD.encode() + b"x" * 2000, GOOD.encode()]
    found = rejected(
        spark,
        (b"1", values[0], RAW, 1, 7, NOON),
        (None, values[1], RAW, 0, 2**40, NOON.replace(microsecond=5_000)),
        (b"1", values[2], RAW, 0, 8, NOON),
    )
    assert found["1/7"] == {
        "time": "2026-01-01T12:00:00.000Z",
        "partition": 1,
        "offset": 7,
        "reason": NOT_OBJECT,
        "size": 18,
        "key": "1",
        "value": '\x00��\n"\\ not json é',
        "value_base64": found["1/7"]["value_base64"],
    }
    assert base64.b64decode(found["1/7"]["value_base64"]) == values[0]
    long = found[f"0/{2**40}"]
    assert long["time"] == "2026-01-01T12:00:00.005Z"
    assert long["value"] == values[1][:1000].decode()
    assert base64.b64decode(long["value_base64"]) == values[1]
    assert long["key"] is None
    assert list(found) == ["1/7", f"0/{2**40}"]


def test_a_tombstone_is_rejected_and_has_neither_bytes_nor_size(spark: SparkSession) -> None:
    [tombstone] = rejected(spark, (b"1", None, RAW, 0, 3, NOON)).values()
    assert tombstone["reason"] == NOT_OBJECT
    assert tombstone["key"] == "1"
    assert [tombstone[name] for name in ("size", "value", "value_base64")] == [None, None, None]


def test_a_rejected_record_is_cut_where_it_would_not_fit_into_one_of_kafka(spark: SparkSession) -> None:
    # Control characters are the longest in JSON.
    value, key = b"\x01" * (validation.KEPT_BYTES + 5), b"\x01" * 2**20
    records = raw(spark, value).union(spark.createDataFrame([(key, b"x", RAW, 0, 1, NOON)], KAFKA))
    long_value, long_key = [row.value for row in validation.rejected(parse(records), FORM).orderBy("key").collect()]
    assert json.loads(long_value)["size"] == validation.KEPT_BYTES + 5
    assert base64.b64decode(json.loads(long_value)["value_base64"]) == value[: validation.KEPT_BYTES]
    limit = MAX_RECORD_BYTES - 10_000  # less what Kafka writes around it
    assert [len(record) for record in (long_value, long_key) if len(record) > limit] == []


def test_rejected_records_are_as_the_contract_says(spark: SparkSession) -> None:
    valid = jsonschema.Draft202012Validator(contract.topics()["rejected"].schema)
    found = rejected(spark, (b"1", b"not json", RAW, 1, 7, NOON), (None, None, RAW, 0, 3, NOON))
    assert len(found) == 2
    for record in found.values():
        valid.validate(record)
