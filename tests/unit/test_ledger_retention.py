"""The ledger of topics whose oldest records retention has removed."""

from dataclasses import replace
from typing import Any

from ledger_records import (
    LATE_RAW,
    LATE_RECORDS,
    LATE_TOKENS,
    LATE_WINDOWS,
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
    token,
    window,
)
from reconciliation.ledger import Ledger
from reconciliation.progress import Progress
from reconciliation.result import Reconciliation, Rows


def closes(found: Reconciliation, topic: str, offsets: int, druid: Rows | None = None) -> None:
    code, sentence = judged(found, druid)
    assert code == 0, sentence
    number = f"{offsets} offset{'s' * (offsets > 1)}"
    assert sentence.endswith(f" Retention has removed the oldest records of {topic} ({number}): they are not checked.")


def test_what_counts_readings_that_retention_has_removed_is_not_wrong() -> None:
    tokens = [token([500], 0, late=2), token([502], 0), token([502], 10)]
    windows = [window(0, 9), window(0, 3, entity=2)]
    given = dict(rejected_records=[rejected(3)], late_records=[late(4, 0, 10)], removed={"raw": 500})
    found = close(tokens, [reading(1), reading(2)], windows, **given)
    assert figures(found) == (2, 2, 0, 0, 0, 0, 0)
    closes(found, "sensor-data-raw", 500)
    closes(found, "sensor-data-raw", 500, replace(found.kafka, readings=502))
    assert judged(found, replace(found.kafka, readings=503))[0] == 1
    assert judged(close(tokens, [reading(1), reading(2)], [window(0, 1)], **given))[0] == 1  # too few
    assert judged(close(tokens, [reading(1), reading(2)], [window(0, 503)], **given))[0] == 1  # more than removed


def test_windows_that_retention_has_removed_are_not_missed_and_druid_has_them() -> None:
    found = close(TOKENS, RECORDS, WINDOWS[1:], REJECTED, removed={"aggregated": 1})
    assert figures(found) == (8, 1, 2, 0, 3, 0, 0)
    druid = replace(found.kafka, windows=2, readings_in_windows=3)
    assert "+ 2 in windows that retention has removed from Kafka," in judged(found, druid)[1]
    closes(found, "sensor-data-aggregated", 1, druid)
    assert judged(found, replace(druid, windows=1, readings_in_windows=1))[0] == 3  # Druid hasn't either
    assert judged(close(TOKENS, RECORDS, [], REJECTED, removed={"aggregated": 1}))[0] == 1  # more than removed


def test_late_records_that_retention_has_removed_are_not_missed_and_druid_has_them() -> None:
    found = close(LATE_TOKENS, LATE_RAW, LATE_WINDOWS, late_records=LATE_RECORDS[1:], removed={"late": 1})
    assert figures(found) == (7, 3, 0, 4, 0, 0, 0)
    closes(found, "sensor-data-late", 1, replace(found.kafka, late=4))
    assert judged(found)[0] == 3
    given: dict[str, Any] = dict(late_records=LATE_RECORDS[2:], removed={"late": 1})
    assert judged(close(LATE_TOKENS, LATE_RAW, LATE_WINDOWS, **given))[0] == 1  # more than removed


def test_rejected_records_that_retention_has_removed_are_restored_from_druid() -> None:
    progress = progressed([token([4], 0, records=4), token([8], 10, records=4)])
    ledger = Ledger()
    ledger.go_on(progress)
    ledger.rejected.add(0, 9, rejected(6, reason="no value"))
    for place in ((0, 2), (0, 5), (0, 6)):
        ledger.rejected.restore(place, "no JSON")
    for offset, value in enumerate(WINDOWS):
        ledger.windows.add(0, offset, value)
    ledger.add_records(0, enumerate(RECORDS))
    found = ledger.close({"raw": {0: 0}, "rejected": {0: 9}}, {0: 8}, Progress(RAW))
    assert figures(found) == (8, 3, 2, 0, 3, 0, 0)
    assert found.rejected == {"no JSON": 2, "no value": 1}
    assert found.kafka.rejected == 1
    closes(found, "sensor-data-rejected", 9, replace(found.kafka, rejected=3))
    assert judged(found, replace(found.kafka, rejected=11))[0] == 1  # more than removed
