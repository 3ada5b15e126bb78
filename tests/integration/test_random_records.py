"""Random records, by a real local Spark: the fast way agrees with from_json, and the job with the contract."""

import json
import random
from collections.abc import Callable

import fuzz
import jsonschema
import pytest
from judged_records import judged
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from records import CONTRACT, FORM, parse, raw
from service import contract
from windows_job.reading import Form


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


def test_the_job_accepts_what_the_contract_accepts(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as JSON Schema can express it: encodings, repeated fields, the calendar and the clock are not in it."""
    usual = fuzz.reading
    monkeypatch.setattr(fuzz, "reading", lambda rng: usual(rng) | {"time": "2026-01-01T10:00:00.000Z"})
    valid = jsonschema.Draft202012Validator(contract.topics()["raw"].schema)
    rng = random.Random(1)
    messages = [fuzz.encoded(fuzz.reading(rng)), *(kind(rng) for kind in [fuzz.wrong_value, fuzz.missing_field] * 400)]
    parsed = parse(raw(spark, *messages), CONTRACT).orderBy("offset").select("reason").collect()
    found = [row.reason for row in parsed]
    for message, reason in zip(messages, found, strict=True):
        if not (reason or "").startswith(("time is not", "time is before", "time is more")):
            assert valid.is_valid(json.loads(message)) == (reason is None), (message, reason)
    assert len(set(found)) > 5
