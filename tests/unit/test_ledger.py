"""The ledger: literal records, what the job wrote of them, and tokens in; exact figures and the verdict out."""

from dataclasses import replace
from typing import Any

import pytest
from ledger_records import (
    MINUTE,
    RAW,
    RECORDS,
    REJECTED,
    TOKENS,
    WINDOWS,
    close,
    figures,
    judged,
    late,
    progressed,
    reading,
    rejected,
    rows,
    token,
    window,
)
from reconciliation.ledger import Ledger
from reconciliation.progress import Progress
from reconciliation.verdict import verdict
from service.contract import topics


def test_a_ledger_that_closes() -> None:
    found = close(TOKENS, RECORDS, WINDOWS, REJECTED)
    assert figures(found) == (8, 3, 2, 0, 3, 0, 0)
    assert found.rejected == {"no JSON": 2, "no value": 1}
    assert found.kafka == rows(readings=5, recent_readings=2, windows=2, readings_in_windows=3, rejected=3)
    assert (found.duplicates, found.gaps, found.out_of_order) == (0, 0, 0)
    assert judged(found) == (
        0,
        "The ledger closes: 8 records = 3 in windows + 2 in open windows + 0 late + 3 rejected, in Kafka and in Druid.",
    )


def test_an_empty_ledger_closes() -> None:
    found = close([], [])
    assert figures(found) == (0, 0, 0, 0, 0, 0, 0)
    assert judged(found, rows())[0] == 0


def test_windows_of_another_length_follow_when_none_is_open() -> None:
    tokens = [token([1], 0), token([1], 10), token([3], 10, length=15), token([3], 15, length=15)]
    found = close(tokens, [reading(1), reading(11), reading(16)], [window(0, 1), window(0, 1, length=15)])
    assert figures(found) == (3, 2, 1, 0, 0, 0, 0)
    assert judged(found)[0] == 0
    assert found.cut.boundary == MINUTE  # windows of both lengths end there, and not at 15
    assert (found.kafka.readings, found.kafka.recent_readings) == (3, 3)


def test_a_late_reading_of_windows_of_another_length_may_be_recent() -> None:
    tokens = [token([1], 0), token([1], 10), token([2], 10, late=1), token([3], 10, length=15)]
    found = close(tokens, [reading(1), reading(2), reading(16)], [window(0, 1)], late_records=[late(1, 0, 10)])
    assert judged(found)[0] == 0
    assert (found.kafka.readings, found.kafka.recent_readings) == (3, 3)


def test_rejected_records_may_be_in_another_order() -> None:
    found = close(TOKENS, RECORDS, WINDOWS, [REJECTED[2], *REJECTED[:2]])
    assert found.rejected == {"no JSON": 2, "no value": 1}
    assert judged(found)[0] == 0


def test_each_partition_has_its_own_offsets() -> None:
    progress = Progress(RAW)
    for value in (token([1, 0], 0, records=1), token([1, 2], 10, late=1, records=2)):
        progress.add(value)
    ledger = Ledger()
    ledger.go_on(progress)
    ledger.windows.add(1, 0, window(0, 1))
    ledger.late.add(0, 0, late(1, 0, 10, entity=2, partition=1))
    ledger.rejected.add(0, 0, rejected(0, partition=1))
    ledger.add_records(1, [(0, b"?"), (1, reading(2, entity=2))])
    ledger.add_records(0, [(0, reading(1))])
    found = ledger.close({"raw": {0: 0, 1: 0}}, {0: 1, 1: 2}, Progress(RAW))
    assert figures(found) == (3, 1, 0, 1, 1, 0, 0)
    assert judged(found)[0] == 0


def test_offsets_without_a_record_are_not_missed() -> None:
    """Markers of transactions, and the records of aborted ones."""
    progress = progressed([token([9], 0, records=3), token([9], 10)])
    ledger = Ledger()
    ledger.go_on(progress)
    ledger.windows.add(0, 0, window(0, 3))
    ledger.add_records(0, [(1, reading(1)), (4, reading(2)), (5, reading(3))])
    found = ledger.close({"raw": {0: 0}}, {0: 9}, Progress(RAW))
    assert figures(found) == (3, 3, 0, 0, 0, 0, 0)
    assert judged(found)[0] == 0


BROKEN: dict[str, tuple[dict[str, Any], tuple[int, ...], str]] = {
    "a missing window": (
        {"windows": WINDOWS[1:]},
        (8, 1, 2, 0, 3, 0, 2),
        "1 missing window with 2 readings; see it with: SELECT * FROM \"sensor-data-raw\" WHERE entity = '1'"
        " AND __time >= TIMESTAMP '2026-01-01 00:00:00' AND __time < TIMESTAMP '2026-01-01 00:00:10'",
    ),
    "a duplicate window": (
        {"windows": [*WINDOWS, *WINDOWS, WINDOWS[0]]},
        (8, 3, 2, 0, 3, 0, 0),
        '2 windows appearing more than once; see it with: SELECT * FROM "sensor-data-aggregated"'
        " WHERE __time = TIMESTAMP '2026-01-01 00:00:00' AND entity = '1'",
    ),
    "wrong counts": (
        {"windows": [window(0, 4), window(0, 0, entity=2)]},
        (8, 3, 2, 0, 3, 0, 0),
        '2 windows counting 2 readings too many and 1 too few; see it with: SELECT * FROM "sensor-data-raw"',
    ),
    "a window without readings": (
        {"windows": [*WINDOWS, window(0, 7, entity=3)]},
        (8, 3, 2, 0, 3, 0, 0),
        '1 window without readings but with a count of 7; see it with: SELECT * FROM "sensor-data-aggregated"',
    ),
    "an early window": (
        {"windows": [*WINDOWS, window(10, 1)]},
        (8, 3, 2, 0, 3, 0, 0),
        "1 window emitted ahead of the watermark; see it with: SELECT",
    ),
    "unexplained records": (
        {"rejected_records": REJECTED[1:2]},
        (8, 3, 2, 0, 1, 0, 2),
        "2 records neither valid nor rejected; see it at partition 0, offset 2 of sensor-data-raw",
    ),
    "a record rejected twice": (
        {"rejected_records": [*REJECTED, rejected(2)]},
        (8, 3, 2, 0, 3, 0, 0),
        '1 record rejected twice; see it with: SELECT * FROM "sensor-data-rejected"'
        ' WHERE "partition" = 0 AND "offset" = 2',
    ),
    "a rejected record that does not exist": (
        {"rejected_records": [*REJECTED, rejected(3, partition=7)], "tokens": [TOKENS[0], token([8, *[0] * 6, 4], 10)]},
        (8, 3, 2, 0, 3, 0, 0),
        "1 partition ending before the offset that the windows job has read, 1 rejected record missing from the raw"
        " topic; see it at partition 7, offset 0 of sensor-data-raw",
    ),
    "an invalid window": (
        {"windows": [*WINDOWS, b"{}"]},
        (8, 3, 2, 0, 3, 0, 0),
        "1 invalid record written by the windows job; see it at partition 0, offset 2 of sensor-data-aggregated",
    ),
    "an invalid rejected record": (
        {"rejected_records": [*REJECTED, b"\xff"]},
        (8, 3, 2, 0, 3, 0, 0),
        "1 invalid record written by the windows job; see it at partition 0, offset 3 of sensor-data-rejected",
    ),
}


@pytest.mark.parametrize(("changed", "expected", "words"), BROKEN.values(), ids=BROKEN)
def test_a_ledger_that_does_not_close(changed: dict[str, Any], expected: tuple[int, ...], words: str) -> None:
    given = {"tokens": TOKENS, "windows": WINDOWS, "rejected_records": REJECTED} | changed
    found = close(raw=RECORDS, **given)
    assert figures(found) == expected
    code, sentence = judged(found)
    assert code == 1
    assert sentence.startswith(f"The ledger does not close: {words}")
    # An error is reported even while something is under way.
    assert judged(replace(found, unread=5), found.kafka)[0] == 1


def test_a_topic_has_the_name_of_its_setting_and_the_datasource_keeps_its_own() -> None:
    renamed = topics({"KAFKA_RAW_TOPIC": "fleet"})
    found = close(TOKENS, RECORDS, WINDOWS, REJECTED[1:])
    assert "at partition 0, offset 2 of fleet" in verdict(found, found.kafka, renamed)[1]
    found = close(TOKENS, RECORDS, WINDOWS[1:], REJECTED)
    assert 'FROM "sensor-data-raw"' in verdict(found, found.kafka, renamed)[1]
    progress = Progress("fleet")
    progress.add(token([1], 0))
    assert progress.offsets == {}
    progress.add(token([1], 0).replace(RAW.encode(), b"fleet"))
    assert progress.offsets == {0: 1}
