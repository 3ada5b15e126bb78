"""What is a reading and what is rejected, by a real local Spark: literal records in, exact judgements out."""

import base64
import json
import random
import sys
from collections.abc import Callable
from typing import Any

import fuzz
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from rooms import ROOT

from records import CONTROL, GOOD, KAFKA, NOON, RAW, Value, changed, contract, literal, marker, parse, raw

PLAIN = GOOD[:-1] + ',"vin":"V"}'  # as the generator writes it
NO_OBJECT = "no JSON object with the fields of a reading"
NO_MOMENT = "time is no moment in ISO 8601, UTC"
NO_WHOLE_NUMBER = "no entity, or no whole number"


def judged(spark: SparkSession, *values: Value, topic: str = RAW) -> list[tuple[Any, ...]]:
    """What parse() makes of each value: time, entity, temp, humidity, seq, reason."""
    columns = parse(raw(spark, *values, topic=topic)).select(
        F.date_format("time", "HH:mm:ss.SSSSSS").alias("time"), "entity", "temp", "humidity", "seq", "reason", "offset"
    )
    return [tuple(row)[:-1] for row in sorted(columns.collect(), key=lambda row: row.offset)]


def reasons(spark: SparkSession, *values: Value, topic: str = RAW) -> list[str | None]:
    return [reason for *_, reason in judged(spark, *values, topic=topic)]


NO_READINGS: list[tuple[Value, str]] = [
    (None, NO_OBJECT),
    (b"", NO_OBJECT),
    (b"\xff\xfe\x00", NO_OBJECT),
    ("null", NO_OBJECT),
    ("5", NO_OBJECT),
    ("[]", NO_OBJECT),
    ("{}", NO_OBJECT),
    ('{"colour": "red"}', NO_OBJECT),
    ("not json", NO_OBJECT),
    (f"[{GOOD}]", NO_OBJECT),
    (GOOD[:-1], NO_OBJECT),
    (GOOD[:40], NO_OBJECT),
    ("," + GOOD, NO_OBJECT),
    ("// a reading\n" + GOOD, NO_OBJECT),
    (GOOD[:-1] + ",}", NO_OBJECT),
    (GOOD.replace('"', "'"), NO_OBJECT),
    (b"\x00" + GOOD.encode(), NO_OBJECT),
    (GOOD.encode() + b"\xff", "not encoded in UTF-8"),
    (GOOD.encode().replace(b'"seq"', b'"se\xffq"'), "not encoded in UTF-8"),
    (changed(note="é").encode("utf-8").decode("unicode_escape").encode("latin-1"), "not encoded in UTF-8"),
    (GOOD + GOOD, "more than one JSON value"),
    (GOOD + "\n" + GOOD, "more than one JSON value"),
    (GOOD + " x", "more than one JSON value"),
    (GOOD + "]", "more than one JSON value"),
    (GOOD + "],[", "more than one JSON value"),
    (GOOD + ',"x":1', "more than one JSON value"),
    (GOOD + "\x00", "more than one JSON value"),
    (PLAIN + PLAIN, "more than one JSON value"),
    (PLAIN + " x", "more than one JSON value"),
    (PLAIN + "\u2028", "more than one JSON value"),  # the end of a line for a regular expression, and not for JSON
    (changed(time=None), "no time"),
    (GOOD.replace('"time"', '"Time"'), "no time"),
    (changed(time=""), NO_MOMENT),
    (changed(time=1767261600000), NO_MOMENT),
    (changed(time="yesterday"), NO_MOMENT),
    (changed(time="2026-01-01"), NO_MOMENT),
    (changed(time="2026-01-01 10:00:00Z"), NO_MOMENT),
    (changed(time="2026-01-01T10:00:00"), NO_MOMENT),
    (changed(time="2026-01-01T10:00:00Z "), NO_MOMENT),
    (changed(time="2026-01-01T10:00:00+00:00"), NO_MOMENT),
    (changed(time="2026-01-01T10:00:00.1234567890Z"), NO_MOMENT),
    (changed(time="2026-02-30T10:00:00Z"), NO_MOMENT),
    (changed(time="2026-01-01T24:00:00Z"), NO_MOMENT),
    (changed(time="2026-01-01T10:00:60Z"), NO_MOMENT),
    (changed(time="1970-01-01T00:00:00.000Z"), "time is before 2000"),
    (changed(time="1999-12-31T23:59:59.999Z"), "time is before 2000"),
    (changed(time="2026-01-01T12:00:10.001Z"), "time is ahead of the broker's clock"),
    (changed(time="2099-12-31T23:59:59.999Z"), "time is ahead of the broker's clock"),
    (changed(entity=None), NO_WHOLE_NUMBER),
    (changed(entity="1"), NO_WHOLE_NUMBER),
    (changed(entity=True), NO_WHOLE_NUMBER),
    (changed(entity=1.0), NO_WHOLE_NUMBER),
    (literal("entity", "1e0"), NO_WHOLE_NUMBER),
    (changed(entity=2**31), NO_WHOLE_NUMBER),
    (literal("entity", "01"), NO_OBJECT),
    (changed(entity=0), "entity is below 1"),
    (changed(entity=-1), "entity is below 1"),
    (changed(temp=None), "no temp, or no number"),
    (changed(temp="20.0"), "no temp, or no number"),
    (changed(temp="NaN"), "no temp, or no number"),
    (changed(temp=[20.0]), "no temp, or no number"),
    (changed(temp=float("nan")), NO_OBJECT),
    (literal("temp", "+1"), NO_OBJECT),
    (changed(temp=-50.01), "temp is out of range"),
    (changed(temp=60.01), "temp is out of range"),
    (literal("temp", "1e999"), "temp is out of range"),
    (changed(humidity={"percent": 35}), "no humidity, or no number"),
    (changed(humidity=-0.01), "humidity is out of range"),
    (changed(humidity=100.01), "humidity is out of range"),
    (changed(time="yesterday", entity=0, temp=99), NO_MOMENT),  # the first of several
]


def test_what_is_no_reading_is_rejected_with_the_reason_and_stops_nothing(spark: SparkSession) -> None:
    values = [value for value, _ in NO_READINGS]
    assert list(zip([*values, GOOD], reasons(spark, *values, GOOD), strict=True)) == [*NO_READINGS, (GOOD, None)]


def test_the_limits_belong_to_a_reading(spark: SparkSession) -> None:
    limits = [
        changed(time="2000-01-01T00:00:00Z"),
        changed(time="2026-01-01T12:00:10.000Z"),  # ahead of the broker by as much as is allowed
        changed(time="2026-01-01T12:00:10.000999999Z"),  # and times are compared in milliseconds
        changed(entity=2**31 - 1),
        changed(temp=-50),
        changed(temp=60),
        changed(humidity=0),
        changed(humidity=-0.0),
        changed(humidity=100),
        changed(seq=None),
        changed(seq="first"),
    ]
    assert list(zip(limits, reasons(spark, *limits), strict=True)) == [(value, None) for value in limits]


def nested(depth: int) -> str:
    return '{"a":[' * (depth // 2) + "]}" * (depth // 2)


OTHER_FORMS: dict[str, str | bytes] = {
    "as the generator writes it": PLAIN,
    "without the fields that are not used": GOOD,
    "fields in another order": '{"seq":1,"humidity":35.0,"temp":20.0,"entity":1,"time":"2026-01-01T10:00:00.000Z"}',
    "fields that nobody knows": changed(colour={"red": 1}, list=[1, {"entity": 5}], nothing=None),
    "braces in strings": changed(note='}{"]', more={"note": '"}', "list": ["[", {"}": "{"}]}),
    "white space": " \t\r\n" + json.dumps(json.loads(GOOD), indent=2) + "\n ",
    "a newline at the end": GOOD + "\n",
    "plain, and a newline at the end": PLAIN + "\r\n",
    "escaped names": GOOD.replace('"entity"', '"\\u0065ntity"').replace('"time"', '"\\u0074\\u0069me"'),
    "other numerals": GOOD.replace("20.0", "2E1").replace("35.0", "35"),
    "a shorter time": GOOD.replace("10:00:00.000Z", "10:00:00Z"),
    "characters beyond ASCII": json.dumps(json.loads(GOOD) | {"note": "é€😀"}, ensure_ascii=False),
    "a BOM in UTF-8": GOOD.encode("utf-8-sig"),
    "UTF-16 with a BOM": GOOD.encode("utf-16"),
    "UTF-16 with a BOM, big-endian": b"\xfe\xff" + GOOD.encode("utf-16-be"),
    "UTF-16, little-endian": GOOD.encode("utf-16-le"),
    "UTF-16, big-endian": GOOD.encode("utf-16-be"),
    "UTF-32 with a BOM": GOOD.encode("utf-32"),
    "UTF-32, little-endian": GOOD.encode("utf-32-le"),
    "UTF-32, big-endian": GOOD.encode("utf-32-be"),
    "5000 levels deep": literal("x", nested(5000)),
    "numbers of 2000 digits": literal("temp", "20." + "0" * 2000).replace("35.0", "35." + "0" * 2000),
    "a number of 2000 digits that nobody knows": literal("x", "9" * 2000),
    "a megabyte of text": changed(note="x" * 2**20),
}


def test_a_reading_in_another_form_is_the_same_reading(spark: SparkSession) -> None:
    same = ("10:00:00.000000", 1, 20.0, 35.0, 1, None)
    found = dict(zip(OTHER_FORMS, judged(spark, *OTHER_FORMS.values()), strict=True))
    assert found == dict.fromkeys(OTHER_FORMS, same)


def repeated(*fields: str) -> str:
    return GOOD[:-1] + "," + ",".join(fields) + "}"


REPEATED: list[tuple[str, float | None, str | None]] = [
    (repeated('"temp":21'), 21.0, None),
    (repeated('"temp":"warm"', '"temp":21'), 21.0, None),
    ('{"temp":"warm",' + GOOD[1:], 20.0, None),
    (repeated('"temp":-0.0'), 0.0, None),
    (repeated('"x":1', '"x":"two"'), 20.0, None),
    (repeated('"x":{"temp":1,"temp":2}'), 20.0, None),
    (repeated('"temp":21', '"temp":99'), 99.0, "temp is out of range"),
    (repeated('"temp":"warm"'), None, "no temp, or no number"),
    (repeated('"temp":null'), None, "no temp, or no number"),
    (repeated('"t\\u0065mp":"warm"'), None, "no temp, or no number"),
    (repeated('"entity":"1"'), None, NO_OBJECT),
    (repeated('"entity":1.0'), None, NO_OBJECT),
    (changed(entity=1.0)[:-1] + ',"temp":21}', None, NO_OBJECT),
    (repeated('"time":"yesterday"'), 20.0, NO_MOMENT),
]


def test_of_repeated_fields_the_last_counts(spark: SparkSession) -> None:
    values = [value for value, *_ in REPEATED]
    found = [(temp, reason) for _, _, temp, _, _, reason in judged(spark, *values)]
    assert [(value, *what) for value, what in zip(values, found, strict=True)] == REPEATED


def rejected(spark: SparkSession, *records: tuple[Any, ...]) -> dict[str, dict[str, Any]]:
    """The rejected ones of (key, value, topic, partition, offset, timestamp) by their key."""
    rows = contract.rejected(parse(spark.createDataFrame(list(records), KAFKA))).collect()
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
        "reason": NO_OBJECT,
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


def test_druid_knows_every_field_of_a_rejected_record_but_its_bytes(spark: SparkSession) -> None:
    schema = json.loads((ROOT / "supervisor-specs/sensor-data-rejected.json").read_text())["spec"]["dataSchema"]
    known = {schema["timestampSpec"]["column"], *(each["name"] for each in schema["dimensionsSpec"]["dimensions"])}
    assert set(rejected(spark, (None, b"", RAW, 0, 0, NOON))["0/0"]) == known | {"value_base64"}


def test_a_tombstone_is_rejected_and_has_neither_bytes_nor_size(spark: SparkSession) -> None:
    [tombstone] = rejected(spark, (b"1", None, RAW, 0, 3, NOON)).values()
    assert tombstone["reason"] == NO_OBJECT
    assert tombstone["key"] == "1"
    assert [tombstone[name] for name in ("size", "value", "value_base64")] == [None, None, None]


def test_a_rejected_record_is_cut_where_it_would_not_fit_into_one_of_kafka(spark: SparkSession) -> None:
    # Control characters are the longest in JSON.
    value, key = b"\x01" * (contract.KEPT_BYTES + 5), b"\x01" * 2**20
    records = raw(spark, value).union(spark.createDataFrame([(key, b"x", RAW, 0, 1, NOON)], KAFKA))
    long_value, long_key = [row.value for row in contract.rejected(parse(records)).orderBy("key").collect()]
    assert json.loads(long_value)["size"] == contract.KEPT_BYTES + 5
    assert base64.b64decode(json.loads(long_value)["value_base64"]) == value[: contract.KEPT_BYTES]
    limit = sys.modules["sink"].MAX_RECORD_BYTES - 10_000  # less what Kafka writes around it
    assert [len(record) for record in (long_value, long_key) if len(record) > limit] == []


def mutated(rng: random.Random) -> bytes:
    """A plain reading with a character too many, or another one."""
    text = fuzz.encoded(fuzz.reading(rng)).decode()
    at = rng.choice([0, len(text), rng.randrange(len(text)), rng.randrange(len(text))])
    return (
        text[:at] + rng.choice('"\\{}[],:.-+eE09 \n\r\t\x00\x0b\u00e9\u0085\u2028') + text[at + rng.randint(0, 1) :]
    ).encode()


TIMES = ["2026-01-01T10:00:00.000Z", "2026-01-01T12:00:10.001Z", "2026-02-29T10:00:00.000Z", "1999-12-31T23:59:59.999Z",
         "2026-01-01T24:00:00.000Z", "2026-01-01T10:00:60.000Z", "0000-01-01T00:00:00.000Z", "2024-02-29T23:59:59.999Z",
         "2026-01-01T10:00:00.0000Z", "2026-01-01T10:00:00Z", "2026-01-01T10:00:00.000"]  # fmt: skip
NUMBERS = ["0", "1", "01", "-1", "7.", "7.0", "0.1", "-0.0", "00.1", "59.999999999", "60.0", "60.000000001", "-50.0",
           "99.99", "-50.000000001", "20.123456789", "20.1234567891", "100.0", "100.000000001", "123.4", "1e1", "1.0E1",
           "+1.0", "999999999", "2147483647", "2147483648", "999999999999999999", "9223372036854775808"]  # fmt: skip


def nearly_plain(rng: random.Random) -> bytes:
    """In the generator's form, with one or more values at the edge of what a plain record may hold."""
    usual = {
        "time": TIMES[0],
        "entity": "7",
        "temp": "20.25",
        "humidity": "35.5",
        "seq": "5",
        "vin": "1HGCM82633A004352",
    }
    for name in rng.sample([*usual, "none"], rng.choice([1, 1, 2])):
        choices = {"time": TIMES, "vin": ["", "V", "v", "V V", "\\u0056", "\u00c9"]}.get(name, NUMBERS)
        usual |= {name: rng.choice(choices)}
    quoted = {
        name: f'"{value}"' if name in ("time", "vin") else value for name, value in usual.items() if name != "none"
    }
    return ("{" + ",".join(f'"{name}":{value}' for name, value in quoted.items()) + "}").encode()


def test_the_short_way_for_plain_records_judges_as_the_long_one(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = fuzz.reading
    constant = {"time": "2026-01-01T10:00:00.000Z", "vin": "V"}
    monkeypatch.setattr(fuzz, "reading", lambda rng: usual(rng) | constant)
    kinds: list[Callable[[random.Random], bytes | None]] = [
        *(kind for kind in fuzz.KINDS if kind not in (fuzz.deep, fuzz.long_text)),
        *[mutated, nearly_plain, nearly_plain] * 6,
    ]
    rng = random.Random(0)
    values = [rng.choice(kinds)(rng) for _ in range(4000)]
    short = judged(spark, *values)
    plain = raw(spark, *values).where(F.col("value").cast("string").rlike(contract.PLAIN)).select("offset").collect()
    assert len(plain) > 500
    assert len({short[row.offset][-1] for row in plain}) > 5  # reasons, and None
    monkeypatch.setattr(contract, "PLAIN", "(?!)")
    long = judged(spark, *values)
    assert [each for each in zip(values, short, long, strict=True) if each[1] != each[2]] == []


def test_only_the_control_topic_has_a_vehicle_0(spark: SparkSession) -> None:
    assert reasons(spark, marker("10:04:00.000")) == ["entity is below 1"]
    assert reasons(spark, marker("10:04:00.000"), "not json", topic=CONTROL) == [None, NO_OBJECT]
