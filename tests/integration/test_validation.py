"""Validation, by a real local Spark: literal records in, exact reasons out."""

import re

import pytest
from judged_records import (
    AHEAD,
    HUMIDITY_RANGE,
    NO_ENTITY,
    NO_SIGNAL,
    NO_ZONE,
    NOT_ISO,
    NOT_OBJECT,
    PLAIN,
    TEMP_RANGE,
    reasons,
)
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from records import CONTRACT, CONTROL, FORM, GOOD, Value, changed, form, literal, marker, parse, raw
from windows_job.validation import fields

LARGEST_COMPILED = 8000  # bytes of bytecode; Java only interprets a method that is larger

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
    ('{"temp": 20}', "time is missing; entity is missing"),
    (GOOD.replace('"temp":20.0,"humidity":35.0,', ""), NO_SIGNAL),
    (changed(temp=None, humidity=None), NO_SIGNAL),
    (changed(temp=None, humidity=None, seq="first"), NO_SIGNAL),
    (changed(time="yesterday", temp=None, humidity=None), f"{NOT_ISO}; {NO_SIGNAL}"),
    (changed(temp=None, humidity="wet"), "humidity is not a number"),
    (changed(temp=None, humidity=101), HUMIDITY_RANGE),
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
     f"{NOT_ISO}; entity is empty; {TEMP_RANGE}"),
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
        changed(temp=None),
        changed(humidity=None),
        GOOD.replace('"temp":20.0,', ""),
        changed(seq=None),
        changed(seq="first"),
    ]
    assert list(zip(limits, reasons(spark, *limits), strict=True)) == [(value, None) for value in limits]


def test_only_the_control_topic_has_markers_and_only_those_count_in_it(spark: SparkSession) -> None:
    assert reasons(spark, marker("10:04:00.000")) == ["entity is empty"]
    foreign = "not a marker of the windows job"
    assert reasons(spark, marker("10:04:00.000"), "hello", GOOD, topic=CONTROL) == [None, NOT_OBJECT, foreign]


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


@pytest.mark.parametrize(("required", "default"), [(True, True), (False, True), (False, False)])
def test_another_signal_is_validated_by_its_schema(spark: SparkSession, required: bool, default: bool) -> None:
    with_speed = form("speed", required=required, default=default)
    speeds = [f',"speed":{text}' if text is not None else "" for text, _, _ in SPEEDS]
    values = [GOOD[:-1].replace(',"seq"', f'{field},"seq"') + ',"vin":"V"}' for field in speeds]
    rows = parse(raw(spark, *values), with_speed).orderBy("offset").select("speed", "reason").collect()
    for (text, speed, reason), row in zip(SPEEDS, rows, strict=True):
        expected = "speed is missing" if required and text in (None, "null") else reason
        assert (row.speed, row.reason) == (speed, expected), text
    plain = raw(spark, *values).where(F.col("value").cast("string").rlike(with_speed.plain_pattern))
    # 88.25 and 250.01, or no speed
    assert [row.offset for row in plain.orderBy("offset").collect()] == ([0, 2] if default else [8])


OTHER_SIGNALS: list[tuple[str, str | None]] = [
    ('"speed":48.25', None),
    ('"latitude":-90,"longitude":180,"heading":360', None),
    ('"speed":null,"fuel_level":0', None),
    ('"soc":50', "all signals are missing: one of temp, humidity, speed, odometer, latitude, longitude, heading,"
                 " fuel_level, tire_pressure, coolant_temp must be there"),
    ('"latitude":90.01,"longitude":9.5', "latitude is not in the range -90 to 90 degrees"),
    ('"speed":"fast","odometer":-1', "speed is not a number; odometer is not in the range 0 to 10000000 km"),
    ('"speed":5,"temp":"warm"', "temp is not a number"),
]  # fmt: skip


def test_a_reading_has_any_of_the_signals_of_the_contract(spark: SparkSession) -> None:
    values = [GOOD.replace('"temp":20.0,"humidity":35.0', fields) for fields, _ in OTHER_SIGNALS]
    rows = parse(raw(spark, *values), CONTRACT).orderBy("offset").collect()
    assert [(fields, row.reason) for (fields, _), row in zip(OTHER_SIGNALS, rows, strict=True)] == OTHER_SIGNALS
    assert [row.valid for row in rows] == [reason is None for _, reason in OTHER_SIGNALS]
    assert [(row.temp, row.humidity, row.speed, row.fuel_level) for row in rows[:3]] == [
        (None, None, 48.25, None), (None, None, None, None), (None, None, None, 0.0),
    ]  # fmt: skip


def test_the_code_that_spark_generates_for_every_record_is_compiled(
    spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    for contract in (FORM, form("speed"), CONTRACT):
        fields(parse(raw(spark, GOOD), contract), contract).explain("codegen")
        sizes = [int(size) for size in re.findall(r"maxMethodCodeSize:(\d+)", capsys.readouterr().out)]
        assert len(sizes) >= 2
        assert max(sizes) <= LARGEST_COMPILED
