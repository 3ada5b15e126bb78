"""The progress tokens: what they cover, what they count, and what is behind the last one."""

import pytest
from ledger_records import (
    LATE_RAW,
    LATE_RECORDS,
    LATE_TOKENS,
    LATE_WINDOWS,
    MINUTE,
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
    said,
    token,
    window,
)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            token([7], 30),
            "1 late reading fewer in the progress tokens than in Kafka; see it in sensor-data-pro",
        ),
        (token([7], 30, late=2), "1 late reading more in the progress tokens"),
        (token([7], 30, late=1, records=9), "2 records more in the progress tokens"),
        (token([7], 30, late=1, records=5), "2 records fewer in the progress tokens"),
    ],
)
def test_the_tokens_count_what_the_topic_holds(changed: bytes, words: str) -> None:
    code, sentence = judged(close([*LATE_TOKENS[:-1], changed], LATE_RAW, LATE_WINDOWS, late_records=LATE_RECORDS))
    assert code == 1
    assert sentence.startswith(f"The ledger does not close: {words}")


def test_what_later_batches_have_written_is_not_judged() -> None:
    raw = [*RECORDS, reading(11, seq=1), b"?"]
    windows = [*WINDOWS, window(10, 2), window(20, 1)]
    given = dict(windows=windows, rejected_records=[*REJECTED, rejected(9)], late_records=[late(10, 0, 10)])
    found = close(TOKENS, raw[:8], **given, later_tokens=[token([11], 30)])
    assert figures(found) == (8, 3, 2, 0, 3, 0, 0)
    assert found.kafka == rows(readings=5, recent_readings=2, windows=2, readings_in_windows=3, rejected=3)
    assert judged(found)[0] == 0
    # Without the later token they would be errors.
    sentence = said(close(TOKENS, raw[:8], **given))
    assert "2 windows emitted ahead of the watermark, 2 records rejected or late before being read; see" in sentence


def test_what_the_job_has_not_read_is_only_counted() -> None:
    found = close(TOKENS, [*RECORDS, reading(11, seq=1), b"?"], WINDOWS, REJECTED)
    assert figures(found) == (10, 3, 2, 0, 3, 2, 0)
    assert found.duplicates == 0
    more = rows(readings=7, recent_readings=4, windows=2, readings_in_windows=3, rejected=3)  # Druid has read on
    assert judged(found, more) == (
        3,
        "Still under way: the windows job has 2 records left to read; WAIT=60 waits for them.",
    )
    behind = rows(readings=3, recent_readings=0, windows=2, readings_in_windows=3, rejected=3)
    assert "the windows job has 2 records and Druid has 2 rows left to read" in judged(found, behind)[1]


def test_before_the_first_token_everything_is_unread() -> None:
    assert figures(close([], RECORDS)) == (8, 0, 0, 0, 0, 8, 0)


def test_the_job_has_read_what_its_tokens_cover() -> None:
    progress = progressed([token([5, 2], 0)])
    assert progress.has_read({0: 0, 1: 0}, {0: 5, 1: 2})
    assert not progress.has_read({0: 0, 1: 0}, {0: 6, 1: 2})
    assert not progress.has_read({0: 0, 1: 0}, {0: 5, 1: 2, 2: 1})  # a partition was added
    assert progress.has_read({0: 9, 1: 2, 2: 1}, {0: 9, 1: 2, 2: 1})  # retention has removed it


@pytest.mark.parametrize(
    "value", [None, b"", b"hello", b"[]", b"{}", b'{"query_id": "q", "batch_id": 1, "windows": 3}', b"[" * 100_000]
)
def test_a_record_that_is_not_a_token_is_passed_over(value: bytes | None) -> None:
    progress = progressed([TOKENS[0], value, TOKENS[1]])  # type: ignore[list-item]
    assert progress.ignored == [value]
    assert (progress.offsets, progress.watermark) == ({0: 8}, MINUTE + 10_000)
