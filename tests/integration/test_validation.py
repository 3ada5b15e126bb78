"""Validation, by a real local Spark: literal records in, exact readings and reasons out."""

import base64
import json
import random
from collections.abc import Callable
from typing import Any

import fuzz
import jsonschema
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from records import CONTROL, FORM, GOOD, KAFKA, NOON, RAW, Value, changed, form, literal, marker, parse, raw
from service import contract
from windows_job import validation
from windows_job.reading import Form
from windows_job.sink import MAX_RECORD_BYTES

PLAIN = GOOD[:-1] + ',"vin":"V"}'  # as the generator writes it
NOT_OBJECT = "not a JSON object with the fields of a reading"
NOT_ISO = "time is not a time in ISO 8601 such as 2026-11-25T10:00:00.000Z"
NO_ZONE = "time has no zone: Z or an offset such as +02:00 must follow it"
AHEAD = "time is more than 10 seconds ahead of the broker's clock"
NO_ENTITY = "entity is neither a text nor a whole number of 64 bits"
TEMP_RANGE = "temp is not in the range -50 to 60 °C"
HUMIDITY_RANGE = "humidity is not in the range 0 to 100 %"


def judged(spark: SparkSession, *values: Value, topic: str = RAW) -> list[tuple[Any, ...]]:
    """What parse() makes of each value: time, entity, temp, humidity, seq, reason."""
    columns = parse(raw(spark, *values, topic=topic)).select(
        F.date_format("time", "HH:mm:ss.SSSSSS").alias("time"), "entity", "temp", "humidity", "seq", "reason", "offset"
    )
    return [tuple(row)[:-1] for row in sorted(columns.collect(), key=lambda row: row.offset)]


def reasons(spark: SparkSession, *values: Value, topic: str = RAW) -> list[str | None]:
    return [reason for *_, reason in judged(spark, *values, topic=topic)]


INVALID: list[tuple[Value, str]] = [
    (None, NOT_OBJECT),
    (b"", NOT_OBJECT),
    (b"\xff\xfe\x00", NOT_OBJECT),
    ("null", NOT_OBJECT),
    ("5", NOT_OBJECT),
    ("[]", NOT_OBJECT),
    ("{}", NOT_OBJECT),
    ('{"colour": "red"}', NOT_OBJECT),
    ("not json", NOT_OBJECT),
    (f"[{GOOD}]", NOT_OBJECT),
    (GOOD[:-1], NOT_OBJECT),
    (GOOD[:40], NOT_OBJECT),
    ("," + GOOD, NOT_OBJECT),
    ("// a reading\n" + GOOD, NOT_OBJECT),
    (GOOD[:-1] + ",}", NOT_OBJECT),
    (GOOD.replace('"', "'"), NOT_OBJECT),
    (b"\x00" + GOOD.encode(), NOT_OBJECT),
    (GOOD.encode() + b"\xff", "not valid UTF-8"),
    (GOOD.encode().replace(b'"seq"', b'"se\xffq"'), "not valid UTF-8"),
    (changed(note="é").encode("utf-8").decode("unicode_escape").encode("latin-1"), "not valid UTF-8"),
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
    (changed(time=None), "time is missing"),
    (GOOD.replace('"time"', '"Time"'), "time is missing"),
    (changed(time=""), NOT_ISO),
    (changed(time=1767261600000), NOT_ISO),
    (changed(time="yesterday"), NOT_ISO),
    (changed(time="2026-01-01"), NOT_ISO),
    (changed(time="2026-01-01 10:00:00Z"), NOT_ISO),
    (changed(time="2026-01-01T10:00:00"), NO_ZONE),
    (changed(time="2026-01-01T10:00:00.123456"), NO_ZONE),
    (changed(time="2026-01-01T10:00:00+18:00"), NOT_ISO),
    (changed(time="2026-01-01T10:00:00+01:60"), NOT_ISO),
    (changed(time="2026-01-01T10:00:00+1"), NOT_ISO),
    (changed(time="2026-01-01T10:00:00 +01:00"), NOT_ISO),
    (changed(time="2026-01-01T10:00:00CET"), NOT_ISO),
    (changed(time="2026-01-01T10:00:00Z "), NOT_ISO),
    (changed(time="2026-01-01T10:00:00.1234567890Z"), NOT_ISO),
    (changed(time="2026-02-30T10:00:00Z"), NOT_ISO),
    (changed(time="2026-01-01T24:00:00Z"), NOT_ISO),
    (changed(time="2026-01-01T10:00:60Z"), NOT_ISO),
    (changed(time="1970-01-01T00:00:00.000Z"), "time is before 2000"),
    (changed(time="1999-12-31T23:59:59.999Z"), "time is before 2000"),
    (changed(time="2026-01-01T12:00:10.001Z"), AHEAD),
    (changed(time="2026-01-01T11:00:10.001-01:00"), AHEAD),
    (changed(time="2099-12-31T23:59:59.999Z"), AHEAD),
    (changed(entity=None), "entity is missing"),
    (GOOD.replace('"entity":1,', ""), "entity is missing"),
    (changed(entity=True), NO_ENTITY),
    (changed(entity=1.5), NO_ENTITY),
    (changed(entity=[1]), NO_ENTITY),
    (changed(entity={"number": 1}), NO_ENTITY),
    (changed(entity=2**63), NO_ENTITY),
    (changed(entity=-(2**63) - 1), NO_ENTITY),
    (literal("entity", f"{2**53 + 2}.0"), NO_ENTITY),
    (literal("entity", "1e300"), NO_ENTITY),
    (literal("entity", "1e999"), NO_ENTITY),
    (literal("entity", "01"), NOT_OBJECT),
    (changed(entity=""), "entity is empty"),
    (changed(entity="-Infinity"), "entity is a name that Druid can't tell from a number"),
    (changed(entity="x" * 257), "entity has more than 256 characters"),
    (changed(temp=None), "temp is missing"),
    (changed(temp="20.0"), "temp is not a number"),
    (changed(temp="NaN"), "temp is not a number"),
    (changed(temp=[20.0]), "temp is not a number"),
    (changed(temp=float("nan")), NOT_OBJECT),
    (literal("temp", "+1"), NOT_OBJECT),
    (changed(temp=-50.01), TEMP_RANGE),
    (changed(temp=60.01), TEMP_RANGE),
    (literal("temp", "1e999"), TEMP_RANGE),
    (changed(humidity={"percent": 35}), "humidity is not a number"),
    (changed(humidity=-0.01), HUMIDITY_RANGE),
    (changed(humidity=100.01), HUMIDITY_RANGE),
    (changed(time="yesterday", entity="", temp=99, humidity=None),  # all of several
     f"{NOT_ISO}; entity is empty; {TEMP_RANGE}; humidity is missing"),
]  # fmt: skip


def test_an_invalid_record_is_rejected_with_the_reason(spark: SparkSession) -> None:
    values = [value for value, _ in INVALID]
    assert list(zip([*values, GOOD], reasons(spark, *values, GOOD), strict=True)) == [*INVALID, (GOOD, None)]


def test_the_limits_of_each_field_are_valid(spark: SparkSession) -> None:
    limits = [
        changed(time="2000-01-01T00:00:00Z"),
        changed(time="2026-01-01T12:00:10.000Z"),  # ahead of the broker by as much as is allowed
        changed(time="2026-01-01T12:00:10.000999999Z"),  # and times are compared in milliseconds
        changed(time="2026-01-01T13:00:10+01:00"),
        changed(entity=2**63 - 1),
        changed(entity=-(2**63)),
        changed(entity="x"),
        changed(entity="😀" * 256),
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
    "unknown fields": changed(colour={"red": 1}, list=[1, {"entity": 5}], nothing=None),
    "braces in strings": changed(note='}{"]', more={"note": '"}', "list": ["[", {"}": "{"}]}),
    "white space": " \t\r\n" + json.dumps(json.loads(GOOD), indent=2) + "\n ",
    "a newline at the end": GOOD + "\n",
    "plain, and a newline at the end": PLAIN + "\r\n",
    "escaped names": GOOD.replace('"entity"', '"\\u0065ntity"').replace('"time"', '"\\u0074\\u0069me"'),
    "other numerals": GOOD.replace("20.0", "2E1").replace("35.0", "35"),
    "an offset instead of Z": GOOD.replace("10:00:00.000Z", "10:00:00.000+00:00"),
    "an offset without a colon": GOOD.replace("10:00:00.000Z", "10:00:00.000000+0000"),
    "an offset of hours": GOOD.replace("10:00:00.000Z", "05:00:00-05"),
    "another offset": GOOD.replace("10:00:00.000Z", "15:30:00.000+05:30"),
    "an entity as text": changed(entity="1"),
    "plain, with an entity as text": PLAIN.replace('"entity":1', '"entity":"1"'),
    "an entity with a fraction": changed(entity=1.0),
    "an entity with an exponent": literal("entity", "1e0"),
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
    "an unknown number of 2000 digits": literal("x", "9" * 2000),
    "a megabyte of text": changed(note="x" * 2**20),
}


def test_a_reading_in_another_form_is_the_same_reading(spark: SparkSession) -> None:
    same = ("10:00:00.000000", "1", 20.0, 35.0, 1, None)
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
    (repeated('"temp":21', '"temp":99'), 99.0, TEMP_RANGE),
    (repeated('"temp":"warm"'), None, "temp is not a number"),
    (repeated('"temp":null'), None, "temp is not a number"),
    (repeated('"t\\u0065mp":"warm"'), None, "temp is not a number"),
    (repeated('"entity":true'), 20.0, NO_ENTITY),
    (repeated('"entity":1.5', '"entity":"truck"'), 20.0, None),
    (repeated('"time":"yesterday"'), 20.0, NOT_ISO),
]


def test_the_last_of_repeated_fields_counts(spark: SparkSession) -> None:
    values = [value for value, *_ in REPEATED]
    found = [(temp, reason) for _, _, temp, _, _, reason in judged(spark, *values)]
    assert [(value, *what) for value, what in zip(values, found, strict=True)] == REPEATED


def rejected(spark: SparkSession, *records: tuple[Any, ...]) -> dict[str, dict[str, Any]]:
    """The rejected ones of (key, value, topic, partition, offset, timestamp) by their key."""
    rows = validation.rejected(parse(spark.createDataFrame(list(records), KAFKA))).collect()
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
    long_value, long_key = [row.value for row in validation.rejected(parse(records)).orderBy("key").collect()]
    assert json.loads(long_value)["size"] == validation.KEPT_BYTES + 5
    assert base64.b64decode(json.loads(long_value)["value_base64"]) == value[: validation.KEPT_BYTES]
    limit = MAX_RECORD_BYTES - 10_000  # less what Kafka writes around it
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
           "+1.0", "999999999", "2147483648",
           "999999999999999999", "1000000000000000000", "9223372036854775808"]  # fmt: skip
ENTITIES = [*NUMBERS, '"7"', '"truck-904"', '""', '" a:b ~!"', '"\\u0041"', '"a,b"', '"\u00e9"', f'"{"x" * 256}"',
            '"a\x7fb"', '"', 'true', '-7', f'"{"x" * 257}"']  # fmt: skip


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
        choices = {"time": TIMES, "entity": ENTITIES, "vin": ["", "V", "v", "V V", "\\u0056", "\u00c9"]}.get(
            name, NUMBERS
        )
        usual |= {name: rng.choice(choices)}
    quoted = {
        name: f'"{value}"' if name in ("time", "vin") else value for name, value in usual.items() if name != "none"
    }
    return ("{" + ",".join(f'"{name}":{value}' for name, value in quoted.items()) + "}").encode()


def test_plain_records_are_parsed_by_place_as_they_are_by_from_json(
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
    plain = (
        raw(spark, *values).where(F.col("value").cast("string").rlike(FORM.plain_pattern)).select("offset").collect()
    )
    assert len(plain) > 500
    assert len({short[row.offset][-1] for row in plain}) > 5  # reasons, and None
    monkeypatch.setattr(Form, "plain_pattern", "(?!)")
    long = judged(spark, *values)
    assert [each for each in zip(values, short, long, strict=True) if each[1] != each[2]] == []


def test_only_the_control_topic_has_markers_and_only_those_count_in_it(spark: SparkSession) -> None:
    assert reasons(spark, marker("10:04:00.000")) == ["entity is empty"]
    foreign = "not a marker of the windows job"
    assert reasons(spark, marker("10:04:00.000"), "hello", GOOD, topic=CONTROL) == [None, NOT_OBJECT, foreign]


SPELLINGS = {
    "903": "903",
    "-7": "-7",
    "0": "0",
    "912.0": "912",
    "1E3": "1000",
    "-0.0": "0",
    f"{2**53}.0": str(2**53),
    str(2**63 - 1): str(2**63 - 1),
    "356307042441013": "356307042441013",
    '"903"': "903",
    '"912.0"': "912.0",
    '"truck-904"': "truck-904",
    '" a "': " a ",
    '"\\u00e9\\ud83d\\ude00"': "é😀",
    '"true"': "true",
    '"a,b"': "a,b",
}


def test_a_number_and_its_text_are_one_vehicle(spark: SparkSession) -> None:
    found = judged(spark, *(literal("entity", text) for text in SPELLINGS))
    assert {text: row[1] for text, row in zip(SPELLINGS, found, strict=True)} == SPELLINGS
    assert {row[-1] for row in found} == {None}


SPEEDS: list[tuple[str | None, float | None, str | None]] = [
    ("88.25", 88.25, None),
    ("250", 250.0, None),
    ("250.01", 250.01, "speed is not in the range 0 to 250 km/h"),
    ("-0.01", -0.01, "speed is not in the range 0 to 250 km/h"),
    ('"fast"', None, "speed is not a number"),
    ("true", None, "speed is not a number"),
    ("[1]", None, "speed is not a number"),
    ("null", None, None),
    (None, None, None),
]


@pytest.mark.parametrize("required", [True, False])
def test_another_signal_is_validated_by_its_schema(spark: SparkSession, required: bool) -> None:
    with_speed = form("speed", required=required)
    fields = [f',"speed":{text}' if text is not None else "" for text, _, _ in SPEEDS]
    values = [GOOD[:-1].replace(',"seq"', f'{field},"seq"') + ',"vin":"V"}' for field in fields]
    rows = parse(raw(spark, *values), with_speed).orderBy("offset").select("speed", "reason").collect()
    for (text, speed, reason), row in zip(SPEEDS, rows, strict=True):
        expected = "speed is missing" if required and text in (None, "null") else reason
        assert (row.speed, row.reason) == (speed, expected), text
    plain = raw(spark, *values).where(F.col("value").cast("string").rlike(with_speed.plain_pattern))
    assert [row.offset for row in plain.orderBy("offset").collect()] == [0, 2]  # 88.25 and 250.01


def test_the_job_accepts_what_the_contract_accepts(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as JSON Schema can express it: encodings, repeated fields, the calendar and the clock are not in it."""
    usual = fuzz.reading
    monkeypatch.setattr(fuzz, "reading", lambda rng: usual(rng) | {"time": "2026-01-01T10:00:00.000Z"})
    valid = jsonschema.Draft202012Validator(contract.topics()["raw"].schema)
    rng = random.Random(1)
    messages = [fuzz.encoded(fuzz.reading(rng)), *(kind(rng) for kind in [fuzz.wrong_value, fuzz.missing_field] * 400)]
    found = reasons(spark, *messages)
    for message, reason in zip(messages, found, strict=True):
        if not (reason or "").startswith(("time is not", "time is before", "time is more")):
            assert valid.is_valid(json.loads(message)) == (reason is None), (message, reason)
    assert len(set(found)) > 5


def test_rejected_records_are_as_the_contract_says(spark: SparkSession) -> None:
    valid = jsonschema.Draft202012Validator(contract.topics()["rejected"].schema)
    found = rejected(spark, (b"1", b"not json", RAW, 1, 7, NOON), (None, None, RAW, 0, 3, NOON))
    assert len(found) == 2
    for record in found.values():
        valid.validate(record)
