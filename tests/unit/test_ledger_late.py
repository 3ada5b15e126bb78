"""The ledger's late readings, and the records of the late topic."""

import pytest
from ledger_records import LATE_RAW, LATE_RECORDS, LATE_TOKENS, LATE_WINDOWS, MINUTE, close, figures, judged, late, said


def test_a_reading_is_late_if_its_window_ends_at_the_watermark_of_its_batch_or_before() -> None:
    found = close(LATE_TOKENS, LATE_RAW, LATE_WINDOWS, late_records=LATE_RECORDS)
    first, second, third = ((MINUTE + start * 1000, MINUTE + start * 1000 + 10_000) for start in (0, 10, 20))
    assert found.late == {(*first, "1"): 1, (*second, "2"): 2, (*third, "1"): 1}
    assert figures(found) == (7, 3, 0, 4, 0, 0, 0)
    assert judged(found)[0] == 0
    assert "4 late" in said(found)


def test_late_records_may_be_in_another_order() -> None:
    assert judged(close(LATE_TOKENS, LATE_RAW, LATE_WINDOWS, late_records=LATE_RECORDS[::-1]))[0] == 0


@pytest.mark.parametrize(
    ("late_records", "words"),
    [
        ([LATE_RECORDS[3], late(2, 0, 10), *LATE_RECORDS[1:3]], "1 late reading with another vehicle, window or"),
        (LATE_RECORDS[1:], "1 late reading missing from the late topic; see it at partition 0, offset 2 of"),
        ([*LATE_RECORDS, LATE_RECORDS[0]], '1 late reading twice in the late topic; see it with: SELECT * FROM "sens'),
        ([*LATE_RECORDS, late(5, 20, 20)], "1 record of the late topic without a late reading; see it with: SELECT"),
        ([*LATE_RECORDS, late(0, 0, 20)], "1 record of the late topic without a late reading; see it with: SELECT"),
        ([late(2, 0, 10), *LATE_RECORDS[1:]], "1 late reading with another vehicle, window or watermark in the late"),
        ([late(2, 0, 20, entity=2), *LATE_RECORDS[1:]], "1 late reading with another vehicle, window or watermark"),
        ([*LATE_RECORDS, late(9, 0, 20)], "1 record rejected or late before being read; see it at partition 0, off"),
        ([*LATE_RECORDS, b"{}"], "1 invalid record written by the windows job; see it at partition 0, offset 4 of sen"),
    ],
)
def test_the_late_topic_is_held_against_the_rule(late_records: list[bytes], words: str) -> None:
    code, sentence = judged(close(LATE_TOKENS, LATE_RAW, LATE_WINDOWS, late_records=late_records))
    assert code == 1
    assert sentence.startswith(f"The ledger does not close: {words}")
