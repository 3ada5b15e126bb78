"""How the ledger reads a record of the raw topic: its vehicle, its time, and what is invalid."""

import json
from typing import Any

import pytest
from ledger_records import MINUTE, close, figures, judged, reading, token, window
from reconciliation.json_values import loads, times


@pytest.mark.parametrize("entity", [903, 903.0, "903"])
def test_the_spellings_of_a_vehicle_are_one(entity: Any) -> None:
    found = close(
        [token([2], 0), token([2], 10)], [reading(1, 903, seq=1), reading(2, entity, seq=2)], [window(0, 2, "903")]
    )
    assert figures(found) == (2, 2, 0, 0, 0, 0, 0)
    assert (found.gaps, found.duplicates) == (0, 0)
    assert judged(found)[0] == 0


@pytest.mark.parametrize(
    ("entity", "text"),
    [
        ("truck-904", "truck-904"),
        (0, "0"),
        (-7, "-7"),
        (3_000_000_000, "3000000000"),
        (356307042441013, "356307042441013"),
        (2**63 - 1, "9223372036854775807"),
        (-(2**63), "-9223372036854775808"),
        (912.0, "912"),
        (-0.0, "0"),
        (2.0**53, "9007199254740992"),
        ("912.0", "912.0"),
        ("Ж" * 256, "Ж" * 256),
        (" ", " "),
    ],
)
def test_a_vehicle_is_a_text_or_a_whole_number(entity: Any, text: str) -> None:
    found = close([token([1], 0), token([1], 10)], [reading(1, entity)], [window(0, 1, text)])
    assert figures(found) == (1, 1, 0, 0, 0, 0, 0)


def test_true_is_not_vehicle_1() -> None:
    assert close([token([2], 0)], [reading(1, 1.0), reading(1, True)]).unexplained == [(0, 1)]


@pytest.mark.parametrize(
    ("time", "start"),
    [
        ("2026-01-01T00:00:00Z", 0),
        ("2026-01-01T00:00:09.999999Z", 0),
        ("2026-01-01T00:00:19.9Z", 10),
        ("2026-01-01T00:00:29.1234567Z", 20),
        ("2026-01-01T00:01Z", 60),
        ("2026-01-01T01:00:10+01:00", 10),
        ("2026-01-01T00:00:10.123456+00:00", 10),
        ("2026-01-01T00:00:19.999999999+0000", 10),
        ("2025-12-31T19:00:20.5-05", 20),
        ("1969-12-31T23:59:59.5Z", -MINUTE // 1000 - 10),
    ],
)
def test_the_window_of_a_time(time: str, start: int) -> None:
    value = json.dumps({"time": time, "entity": 1}).encode()
    found = close([token([0], 90), token([1], 90)], [value]).late
    assert found == {(MINUTE + start * 1000, MINUTE + start * 1000 + 10_000, "1"): 1}


@pytest.mark.parametrize(
    "value",
    [
        b"", b"[]", b"1", b"null", b"{}", b'{"time": "2026-01-01T00:00:00Z"}', b'{"time": "", "entity": 1}',
        b'{"time": "2026-01-01T00:00:00", "entity": 1}', b'{"time": "Z", "entity": 1}', b'{"time": 1, "entity": 1}',
        b'{"time": ["Z"], "entity": 1}', b'{"time": {}, "entity": 1}',
        b'{"time": "2026-01-01T00:00:00Z", "entity": []}', b'{"time": "2026-01-01T00:00:00Z", "entity": 1.5}',
        b'{"time": "2026-01-01T00:00:00Z", "entity": true}', b"[" * 100_000, b"1" * 5000, None,
        b'{"time": "2026-01-01T00:00:00Z", "entity": ""}', b'{"time": "2026-01-01T00:00:00Z", "entity": 1e300}',
        b'{"time": "2026-01-01T00:00:00Z", "entity": 9223372036854775808}',
        b'{"time": "2026-01-01T00:00:00Z", "entity": 9007199254740994.0}',
        b'{"time": "2026-01-01T00:00:00Z", "entity": NaN}', b'{"time": "2026-01-01T00:00:00Z", "entity": null}',
        reading(1, "x" * 257),
    ],
)  # fmt: skip
def test_an_invalid_record_that_was_not_rejected_is_unexplained(value: bytes | None) -> None:
    assert close([token([1], 0)], [value]).unexplained == [(0, 0)]


def test_the_readings_behind_the_cut_are_counted_by_their_time() -> None:
    assert times([reading(1), reading(9.9), reading(10), reading(11), None, b"?", b"{}"], MINUTE + 10_000) == (2, 2)


def test_a_reading_with_a_deeply_nested_field_counts() -> None:
    nested = b'[{"a":"]}"},' * 50_000 + b"1" + b"]" * 50_000
    value = b'{"time":"2026-11-24T10:00:00.000Z","x":' + nested + b',"entity":7,"text":"}{"}'
    assert loads(value) == {"time": "2026-11-24T10:00:00.000Z", "x": None, "entity": 7, "text": "}{"}
