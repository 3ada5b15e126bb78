"""The ledger: literal records, what the job wrote of them, and tokens in; exact figures and the verdict out.

Windows last 10 seconds.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from reconciliation import report, runs
from reconciliation.json_values import loads, millis, times
from reconciliation.ledger import Ledger
from reconciliation.lookup import Lookup
from reconciliation.progress import Progress
from reconciliation.result import Reconciliation, Rows, Run, Window
from reconciliation.verdict import verdict
from service.contract import topics

TOPICS = topics()
RAW = TOPICS["raw"].name
MINUTE = millis("2026-01-01T00:00:00Z")


def token(offsets: list[int], watermark: int, late: int = 0, length: int = 10, records: int = 0) -> bytes:
    """The token of a batch that read up to `offsets`; `watermark` in seconds of the minute."""
    ends = {str(partition): end for partition, end in enumerate(offsets)}
    values = {
        "query_id": "q",
        "batch_id": 0,
        "window_seconds": length,
        "watermark_seconds": 10,
        "watermark": MINUTE + watermark * 1000,
        "offsets": {RAW: ends, "sensor-data-control": {"0": 0}},
        "records": records,
        "windows": 0,
        "rejected": 0,
        "late": late,
    }
    return json.dumps(values).encode()


def reading(second: float, entity: Any = 1, seq: Any = None) -> bytes:
    values = {"time": f"2026-01-01T00:00:{second:06.3f}Z", "entity": entity, "temp": 20.5, "humidity": 35}
    return json.dumps(values if seq is None else {**values, "seq": seq}).encode()


def iso(second: int) -> str:
    return f"2026-01-01T00:{second // 60:02}:{second % 60:02}.000Z"


def window(second: int, count: int, entity: Any = 1, length: int = 10) -> bytes:
    start, end = iso(second), iso(second + length)
    return json.dumps({"window_start": start, "window_end": end, "entity": str(entity), "count": count}).encode()


def rejected(offset: int, partition: int = 0, reason: str = "no JSON") -> bytes:
    return json.dumps({"time": "2026-01-01T00:00:00.000Z", "partition": partition, "offset": offset, "reason": reason,
                       "size": 1, "key": None, "value": "?", "value_base64": "Pw=="}).encode()  # fmt: skip


def late(offset: int, second: int, watermark: int, entity: Any = 1, partition: int = 0) -> bytes:
    """A record of the late topic; `second` is the start of the window."""
    place = {"partition": partition, "offset": offset, "entity": str(entity), "watermark": iso(watermark)}
    return json.dumps({"window_start": iso(second), "window_end": iso(second + 10), **place}).encode()


def progressed(tokens: Iterable[bytes]) -> Progress:
    progress = Progress(RAW)
    for value in tokens:
        progress.add(value)
    return progress


def close(
    tokens: Iterable[bytes],
    raw: list[bytes | None],
    windows: Iterable[bytes] = (),
    rejected_records: Iterable[bytes] = (),
    **more: Any,
) -> Reconciliation:
    """The reconciliation of one partition.

    `late_records` are those of the late topic, `later_tokens` those behind the snapshot, and `removed` has the first
    offset of topics by their role. The tokens count as many records as there are.
    """
    firsts = {"raw": 0, **more.get("removed", {})}
    first = firsts["raw"]
    progress = progressed(tokens)
    progress.records = progress.records or min(len(raw), max(0, progress.offsets.get(0, 0) - first))
    ledger = Ledger(progress)
    for offset, value in enumerate(rejected_records):
        ledger.add_rejected(0, offset, value)
    for offset, value in enumerate(more.get("late_records", ())):
        ledger.add_late(0, offset, value)
    for offset, value in enumerate(windows):
        ledger.add_window(0, offset, value)
    ledger.add_records(0, enumerate(raw, first))
    begin = {role: {0: offset} for role, offset in firsts.items()}
    return ledger.close(begin, {0: first + len(raw)}, progressed(more.get("later_tokens", ())))


def judged(found: Reconciliation, druid: Rows | None = None) -> tuple[int, str]:
    """The verdict, by default with a Druid that has what Kafka has."""
    return verdict(found, druid or found.kafka, TOPICS)


def said(found: Reconciliation) -> str:
    return judged(found)[1]


def figures(found: Reconciliation) -> tuple[int, ...]:
    late, rejected = found.late.total(), found.rejected.total()
    return found.records, found.in_windows, found.in_open_windows, late, rejected, found.unread, found.in_none


def rows(**counts: int) -> Rows:
    return Rows(**{**dict.fromkeys(Rows.__dataclass_fields__, 0), **counts})


# Batch 0 reads offsets 0 to 3, batch 1 the rest; its watermark closes the window of seconds 0 to 10.
TOKENS = [token([4], 0), token([8], 10)]
RECORDS: list[bytes | None] = [
    reading(1, seq=1),
    reading(9.999, seq=2),
    b"not JSON",
    reading(5, entity=2, seq=1),
    reading(20, seq=3),
    b"\xff",
    None,
    reading(10, seq=4),
]
WINDOWS = [window(0, 2), window(0, 1, entity=2)]
REJECTED = [rejected(2), rejected(5), rejected(6, reason="no value")]


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


LATE_TOKENS = [token([2], 0), token([2], 10), token([6], 20, late=3), token([6], 30), token([7], 30, late=1)]
LATE_RAW: list[bytes | None] = [
    reading(1),  # batch 0
    reading(25),
    reading(3),  # batch 2: batch 1 has closed the first window
    reading(19.999, entity=2),
    reading(12, entity="2"),
    reading(20),
    reading(29.999),  # batch 4: batch 3 has closed the window of the reading before
]
LATE_WINDOWS = [window(0, 1), window(20, 2)]
LATE_RECORDS = [late(2, 0, 20), late(3, 10, 20, entity=2), late(4, 10, 20, entity=2), late(6, 20, 30)]


def test_a_reading_is_late_if_its_window_ends_at_the_watermark_of_its_batch_or_before() -> None:
    found = close(LATE_TOKENS, LATE_RAW, LATE_WINDOWS, late_records=LATE_RECORDS)
    first, second, third = ((MINUTE + start * 1000, MINUTE + start * 1000 + 10_000) for start in (0, 10, 20))
    assert found.late == {(*first, "1"): 1, (*second, "2"): 2, (*third, "1"): 1}
    assert figures(found) == (7, 3, 0, 4, 0, 0, 0)
    assert judged(found)[0] == 0
    assert "4 late" in said(found)


@pytest.mark.parametrize(
    ("late_records", "words"),
    [
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


def test_windows_of_another_length_follow_when_none_is_open() -> None:
    tokens = [token([1], 0), token([1], 10), token([3], 10, length=15), token([3], 15, length=15)]
    found = close(tokens, [reading(1), reading(11), reading(16)], [window(0, 1), window(0, 1, length=15)])
    assert figures(found) == (3, 2, 1, 0, 0, 0, 0)
    assert judged(found)[0] == 0
    assert found.cut.boundary == MINUTE  # windows of both lengths end there, and not at 15
    assert (found.kafka.readings, found.kafka.recent_readings) == (3, 3)


def test_each_partition_has_its_own_offsets() -> None:
    progress = Progress(RAW)
    for value in (token([1, 0], 0, records=1), token([1, 2], 10, late=1, records=2)):
        progress.add(value)
    ledger = Ledger(progress)
    ledger.add_window(1, 0, window(0, 1))
    ledger.add_late(0, 0, late(1, 0, 10, entity=2, partition=1))
    ledger.add_rejected(0, 0, rejected(0, partition=1))
    ledger.add_records(1, [(0, b"?"), (1, reading(2, entity=2))])
    ledger.add_records(0, [(0, reading(1))])
    found = ledger.close({"raw": {0: 0, 1: 0}}, {0: 1, 1: 2}, Progress(RAW))
    assert figures(found) == (3, 1, 0, 1, 1, 0, 0)
    assert judged(found)[0] == 0


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


def test_offsets_without_a_record_are_not_missed() -> None:
    """Markers of transactions, and the records of aborted ones."""
    progress = progressed([token([9], 0, records=3), token([9], 10)])
    ledger = Ledger(progress)
    ledger.add_window(0, 0, window(0, 3))
    ledger.add_records(0, [(1, reading(1)), (4, reading(2)), (5, reading(3))])
    found = ledger.close({"raw": {0: 0}}, {0: 9}, Progress(RAW))
    assert figures(found) == (3, 3, 0, 0, 0, 0, 0)
    assert judged(found)[0] == 0


@pytest.mark.parametrize(("acknowledged", "code"), [(8, 0), (7, 0), (9, 1)])
def test_what_kafka_acknowledged_to_the_generator_is_in_the_topic(acknowledged: int, code: int) -> None:
    found = close(TOKENS, RECORDS, WINDOWS, REJECTED)
    first = Run("2026-01-01T00:00:00.000Z", "sending", 3, 3, 0)  # killed
    second = Run("2026-01-01T00:01:00.000Z", "finished", 9, acknowledged - 3, 0)
    found = replace(found, runs=[first, second])
    assert judged(found)[0] == code
    if code:
        assert said(found) == (
            "The ledger does not close: 1 record fewer in the raw topic than Kafka has acknowledged to the generator;"
            " see it in sensor-data-runs"
        )
        hidden = replace(found, held_back=1)
        assert judged(hidden)[0] == 0
        assert said(hidden).endswith(
            " An open transaction hides 1 offset of sensor-data-raw until its producer ends it."
        )


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
    ledger = Ledger(progress)
    ledger.add_rejected(0, 9, rejected(6, reason="no value"))
    for place in ((0, 2), (0, 5), (0, 6)):
        ledger.restore_rejected(place, "no JSON")
    for offset, value in enumerate(WINDOWS):
        ledger.add_window(0, offset, value)
    ledger.add_records(0, enumerate(RECORDS))
    found = ledger.close({"raw": {0: 0}, "rejected": {0: 9}}, {0: 8}, Progress(RAW))
    assert figures(found) == (8, 3, 2, 0, 3, 0, 0)
    assert found.rejected == {"no JSON": 2, "no value": 1}
    assert found.kafka.rejected == 1
    closes(found, "sensor-data-rejected", 9, replace(found.kafka, rejected=3))
    assert judged(found, replace(found.kafka, rejected=11))[0] == 1  # more than removed


OPEN = "The ledger does not close"


@pytest.mark.parametrize(
    ("changes", "expected", "words"),
    [
        ({}, 0, "The ledger closes"),
        ({"readings": 3}, 3, "Still under way: Druid has 2 rows left to read; WAIT=60 waits for them."),
        ({"windows": 1, "readings_in_windows": 1}, 3, "Still under way: Druid has 1 row left to read"),
        (
            {"readings": 0, "recent_readings": 0, "windows": 0, "readings_in_windows": 0, "rejected": 0},
            3,
            "Still under way: Druid has 10 rows left",
        ),
        ({"readings": 6}, 1, f"{OPEN}: 1 more reading in Druid than in Kafka; see it with: SELECT"),
        ({"readings": 6, "windows": 0}, 1, f"{OPEN}: 1 more reading"),
        ({"recent_readings": 3}, 1, f"{OPEN}: 1 more reading"),  # and 1 fewer before the watermark
        ({"late": 1}, 1, f"{OPEN}: 1 more late reading in Druid than in Kafka; see it with: SELECT"),
        ({"rejected": 5}, 1, f"{OPEN}: 2 more rejected records in Druid"),
        (
            {"windows": 3, "readings_in_windows": 5, "duplicate_windows": 1},
            1,
            f"{OPEN}: 1 more window in Druid than in Kafka, 1 more duplicate window in Druid than in Kafka;",
        ),
        ({"readings_in_windows": 2}, 1, f"{OPEN}: 1 fewer reading in Druid's windows than in Kafka's; see it with"),
        ({"windows": 1, "readings_in_windows": 4}, 1, f"{OPEN}: 1 more reading in Druid's windows"),
    ],
)
def test_rows_that_druid_lacks_are_under_way_and_rows_that_kafka_lacks_are_wrong(
    changes: dict[str, int], expected: int, words: str
) -> None:
    found = close(TOKENS, RECORDS, WINDOWS, REJECTED)
    code, sentence = judged(found, replace(found.kafka, **changes))
    assert code == expected
    assert sentence.startswith(words)


HUGE = 2**63 - 1


@pytest.mark.parametrize(
    ("seqs", "duplicates", "gaps", "out_of_order"),
    [
        ([1, 2, 3], 0, 0, 0),
        ([700, 701, 702], 0, 0, 0),  # its first was not 1
        ([1, 2, 2, 3, 1, 3], 3, 0, 0),
        ([1, 3, 6], 0, 3, 0),
        ([1, 3, 2, 4], 0, 0, 1),
        ([3, 2, 1, 1], 1, 0, 2),
        ([255, 256, 511, 512], 0, 254, 0),
        ([-1, 1, 0, -1], 1, 0, 1),
        ([1, HUGE, 2], 0, HUGE - 3, 1),
        ([-HUGE - 1, HUGE, HUGE], 1, 2**64 - 2, 0),
        ([1, "2", 2.0, None, True, 2], 0, 0, 0),  # only integers count as seqs
    ],
)
def test_seqs(seqs: list[Any], duplicates: int, gaps: int, out_of_order: int) -> None:
    found = close([token([len(seqs)], 0)], [reading(1, seq=seq) for seq in seqs])
    assert (found.duplicates, found.gaps, found.out_of_order) == (duplicates, gaps, out_of_order)
    assert judged(found)[0] == 0  # the vehicles sent the readings this way


def test_each_vehicle_has_its_own_seqs_and_many_scattered_ones_cost_little() -> None:
    found = close([token([4], 0)], [reading(1, 1, 5), reading(1, 2, 5), reading(1, 1, 6), reading(1, 2, 7)])
    assert (found.duplicates, found.gaps, found.out_of_order) == (0, 1, 0)
    scattered = [reading(1, seq=(n * 2**40 + n) % 2**63) for n in range(20_000)]
    found = close([token([len(scattered)], 0)], scattered)
    assert found.duplicates == 0
    assert found.gaps == max(json.loads(value)["seq"] for value in scattered) + 1 - 20_000


def test_a_late_reading_is_never_out_of_order_but_may_be_a_duplicate() -> None:
    tokens = [token([3], 0), token([6], 10, late=2)]
    raw: list[bytes | None] = [reading(1, seq=1), reading(2, seq=4), reading(3, seq=5)]
    raw += [reading(4, seq=2), reading(1, seq=1), reading(11, seq=3)]
    found = close(tokens, raw, [window(0, 3)])
    assert (found.late.total(), found.duplicates, found.gaps, found.out_of_order) == (2, 1, 0, 1)


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


@pytest.mark.parametrize(
    "value", [None, b"", b"hello", b"[]", b"{}", b'{"query_id": "q", "batch_id": 1, "windows": 3}', b"[" * 100_000]
)
def test_a_record_that_is_not_a_token_is_passed_over(value: bytes | None) -> None:
    progress = progressed([TOKENS[0], value, TOKENS[1]])  # type: ignore[list-item]
    assert progress.ignored == [value]
    assert (progress.offsets, progress.watermark) == ({0: 8}, MINUTE + 10_000)


def test_the_readings_behind_the_cut_are_counted_by_their_time() -> None:
    assert times([reading(1), reading(9.9), reading(10), reading(11), None, b"?", b"{}"], MINUTE + 10_000) == (2, 2)


def test_the_table() -> None:
    tokens = [token([4], 0), token([8], 10), token([20], 10)]
    many: list[bytes | None] = [reading(n % 2, entity=n + 10, seq=n) for n in range(10)]
    strange = reading(3, "a\x1b[2J\nb", 1)
    found = close(tokens, [*RECORDS, *many, strange, reading(3, 10, HUGE)], WINDOWS, REJECTED)
    twelve = [Run(f"2026-01-{day:02}T00:00:00.000Z", "finished", 1000 + day, 1000, day) for day in range(1, 13)]
    assert (
        report.table(replace(found, runs=twelve), replace(found.kafka, readings=12_345))
        == """\
  records in the raw topic                        20
    in windows that are emitted                    3
    in windows still open                          2
    in windows removed by retention                0
    late                                          12
    rejected                                       3
    not yet read by the windows job                0
    in none of these                               0

                                   Kafka       Druid
  readings                            17      12,345
  windows                              2           2
  readings in windows                  3           3
  late                                 0           0
  rejected                             3           3
  windows that appear twice            0           0

  duplicates by (entity, seq)          0
  gaps in seq  9,223,372,036,854,775,806
  out of order                         0

                                    sent acknowledged
  all runs of the generator: 12   12,078      12,000
    2026-01-03T00:00:00 finished   1,003       1,000
    2026-01-04T00:00:00 finished   1,004       1,000
    2026-01-05T00:00:00 finished   1,005       1,000
    2026-01-06T00:00:00 finished   1,006       1,000
    2026-01-07T00:00:00 finished   1,007       1,000
    2026-01-08T00:00:00 finished   1,008       1,000
    2026-01-09T00:00:00 finished   1,009       1,000
    2026-01-10T00:00:00 finished   1,010       1,000
    2026-01-11T00:00:00 finished   1,011       1,000
    2026-01-12T00:00:00 finished   1,012       1,000
    ... and 2 older

  rejected, by reason
    no JSON                                        2
    no value                                       1

  late, by window and vehicle
    2026-01-01 00:00:00 vehicle 10                 2
    2026-01-01 00:00:00 vehicle 11                 1
    2026-01-01 00:00:00 vehicle 12                 1
    2026-01-01 00:00:00 vehicle 13                 1
    2026-01-01 00:00:00 vehicle 14                 1
    2026-01-01 00:00:00 vehicle 15                 1
    2026-01-01 00:00:00 vehicle 16                 1
    2026-01-01 00:00:00 vehicle 17                 1
    2026-01-01 00:00:00 vehicle 18                 1
    2026-01-01 00:00:00 vehicle 19                 1
    ... and 1 more"""
    )


def test_a_vehicles_control_characters_are_not_sent_to_the_terminal() -> None:
    found = close([token([0], 10), token([1], 10)], [reading(3, "a\x1b[2J\nb")])
    assert report.table(found, found.kafka).splitlines()[-1] == (
        r"    2026-01-01 00:00:00 vehicle 'a\x1b[2J\nb'      1"
    )


def test_a_reading_with_a_deeply_nested_field_counts() -> None:
    nested = b'[{"a":"]}"},' * 50_000 + b"1" + b"]" * 50_000
    value = b'{"time":"2026-11-24T10:00:00.000Z","x":' + nested + b',"entity":7,"text":"}{"}'
    assert loads(value) == {"time": "2026-11-24T10:00:00.000Z", "x": None, "entity": 7, "text": "}{"}


def test_the_figures_for_programs() -> None:
    found = close(TOKENS, RECORDS, WINDOWS, REJECTED, removed={"rejected": 7})
    found = replace(found, runs=[Run("2026-01-01T00:00:00.000Z", "finished", 8, 7, 1)], held_back=4)
    kafka = {
        "readings": 5,
        "recent_readings": 2,
        "windows": 2,
        "readings_in_windows": 3,
        "late": 0,
        "rejected": 3,
        "duplicate_windows": 0,
    }
    run = {"started_at": "2026-01-01T00:00:00.000Z", "state": "finished", "sent": 8, "acknowledged": 7, "failed": 1}
    assert report.figures(found, replace(found.kafka, readings=4)) == {
        "records": 8,
        "in_windows": 3,
        "in_removed_windows": 0,
        "in_open_windows": 2,
        "late": 0,
        "rejected": 3,
        "unread": 0,
        "in_none": 0,
        "held_back": 4,
        "removed": {"rejected": 7},
        "runs": [run],
        "acknowledged": 7,
        "kafka": kafka,
        "druid": kafka | {"readings": 4},
        "duplicates": 0,
        "gaps": 0,
        "out_of_order": 0,
        "rejected_by_reason": {"no JSON": 2, "no value": 1},
    }


def test_the_newest_record_of_a_run_counts_and_what_is_not_one_is_ignored() -> None:
    def record(run: str, day: int, acknowledged: int) -> bytes:
        values = {"run": run, "started_at": f"2026-01-{day:02}T00:00:00.000Z", "state": "sending", "failed": 0}
        return json.dumps({**values, "sent": 9, "acknowledged": acknowledged}).encode()

    values = [record("b", 2, 1), b"hello", None, b"[]", record("a", 1, 5), record("b", 2, 9), b'{"run": "c"}']
    assert runs.newest(values) == [
        Run("2026-01-01T00:00:00.000Z", "sending", 9, 5, 0),
        Run("2026-01-02T00:00:00.000Z", "sending", 9, 9, 0),
    ]


@pytest.mark.parametrize(
    ("entity", "literal"),
    [("1", "'1'"), ("o'hara", "'o''hara'"), ("é'\\", r"U&'\00e9\0027\005c'"), ("😀", r"U&'\d83d\de00'")],
)
def test_a_vehicle_is_quoted_for_sql(entity: str, literal: str) -> None:
    lookup = Lookup(TOPICS)
    assert f"entity = {literal}" in lookup.window(Window(MINUTE, MINUTE + 10_000, entity))


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
