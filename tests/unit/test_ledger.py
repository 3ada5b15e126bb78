"""The books: literal records, windows, rejects and tokens in, exact figures and the verdict out. Windows of 10 s."""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

import report
from ledger import RAW, Books, Ledger, Progress, Rows, _loads, millis, unread

MINUTE = millis("2026-01-01T00:00:00Z")


def token(offsets: list[int], watermark: int) -> bytes:
    """The token of a batch that read up to `offsets`; `watermark` in seconds of the minute."""
    ends = {str(partition): end for partition, end in enumerate(offsets)}
    values = {
        "query_id": "q",
        "batch_id": 0,
        "window_seconds": 10,
        "watermark_seconds": 10,
        "watermark": MINUTE + watermark * 1000,
        "offsets": {RAW: ends, "sensor-data-control": {"0": 0}},
        "windows": 0,
        "rejected": 0,
    }
    return json.dumps(values).encode()


def reading(second: float, entity: int = 1, seq: Any = None) -> bytes:
    values = {"time": f"2026-01-01T00:00:{second:06.3f}Z", "entity": entity, "temp": 20.5, "humidity": 35}
    return json.dumps(values if seq is None else {**values, "seq": seq}).encode()


def window(second: int, count: int, entity: int = 1) -> bytes:
    start, end = (f"2026-01-01T00:00:{s:02}.000Z" for s in (second, second + 10))
    return json.dumps({"window_start": start, "window_end": end, "entity": entity, "count": count}).encode()


def reject(offset: int, partition: int = 0, reason: str = "no JSON") -> bytes:
    return json.dumps({"time": "2026-01-01T00:00:00.000Z", "partition": partition, "offset": offset, "reason": reason,
                       "size": 1, "key": None, "value": "?", "value_base64": "Pw=="}).encode()  # fmt: skip


def close(
    tokens: Iterable[bytes],
    raw: list[bytes | None],
    windows: Iterable[bytes] = (),
    rejects: Iterable[bytes] = (),
    first: int = 0,
) -> Books:
    """The books over one partition whose records begin at offset `first`."""
    progress = Progress()
    for value in tokens:
        progress.add(value)
    ledger = Ledger(progress)
    for offset, value in enumerate(rejects):
        ledger.add_reject(0, offset, value)
    for offset, value in enumerate(windows):
        ledger.add_window(0, offset, value)
    ledger.add_records(0, enumerate(raw, first))
    return ledger.close({0: first}, {0: first + len(raw)})


def said(books: Books) -> str:
    """The verdict, with a Druid that has what Kafka has."""
    return report.verdict(books, books.kafka)[1]


def figures(books: Books) -> tuple[int, ...]:
    late, rejected = books.late.total(), books.rejected.total()
    return books.records, books.in_windows, books.in_open_windows, late, rejected, books.unread, books.in_none


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
REJECTS = [reject(2), reject(5), reject(6, reason="no value")]


def test_books_that_close() -> None:
    books = close(TOKENS, RECORDS, WINDOWS, REJECTS)
    assert figures(books) == (8, 3, 2, 0, 3, 0, 0)
    assert books.rejected == {"no JSON": 2, "no value": 1}
    assert books.kafka == Rows(readings=5, windows=2, counted=3, rejected=3, twice=0)
    assert (books.duplicates, books.gaps, books.out_of_order) == (0, 0, 0)
    assert report.verdict(books, books.kafka) == (
        0,
        "The books close: 8 records = 3 in windows + 2 in open windows + 0 late + 3 rejected, in Kafka and in Druid.",
    )


def test_nothing_at_all_closes() -> None:
    books = close([], [])
    assert figures(books) == (0, 0, 0, 0, 0, 0, 0)
    assert report.verdict(books, Rows(0, 0, 0, 0, 0))[0] == 0


def test_late_is_what_comes_in_a_batch_after_the_one_whose_watermark_closed_its_window() -> None:
    tokens = [token([1], 0), token([3], 10), token([3], 20), token([7], 30)]
    raw: list[bytes | None] = [
        reading(1),  # batch 0
        reading(2),  # batch 1: its own watermark closes the window, the one before hadn't
        reading(25),
        reading(3),  # batch 3: two windows are closed since batch 1 and 2
        reading(19.999, entity=2),
        reading(12, entity=2),
        reading(20),  # of a window that was open before batch 3 and is closed after it
    ]
    books = close(tokens, raw, [window(0, 2), window(20, 2)])
    assert books.late == {(MINUTE, 1): 1, (MINUTE + 10_000, 2): 2}
    assert figures(books) == (7, 4, 0, 3, 0, 0, 0)
    assert "3 late" in said(books)


def test_each_partition_has_its_own_offsets() -> None:
    progress = Progress()
    for value in (token([1, 0], 10), token([1, 2], 10)):
        progress.add(value)
    ledger = Ledger(progress)
    ledger.add_window(1, 0, window(0, 1))
    ledger.add_reject(0, 0, reject(0, partition=1))
    ledger.add_records(1, [(0, b"?"), (1, reading(2, entity=2))])
    ledger.add_records(0, [(0, reading(1))])
    books = ledger.close({0: 0, 1: 0}, {0: 1, 1: 2})
    assert figures(books) == (3, 1, 0, 1, 1, 0, 0)
    assert report.verdict(books, books.kafka)[0] == 0


def test_a_snapshot_while_data_flows() -> None:
    later_windows = [window(10, 1), window(10, 1), window(20, 1)]
    raw = [*RECORDS, reading(11, seq=1), b"?"]
    books = close(TOKENS, raw, [*WINDOWS, *later_windows], [*REJECTS, reject(9), reject(9)])
    assert figures(books) == (10, 3, 2, 0, 3, 2, 0)
    assert books.duplicates == 0  # of what the job has read
    assert books.kafka == Rows(readings=5, windows=5, counted=6, rejected=5, twice=0)
    moved = replace(books, moved=True)
    more = Rows(readings=7, windows=6, counted=7, rejected=5, twice=0)  # Druid has read on
    assert report.verdict(moved, more) == (
        3,
        "Still under way: 2 records that the windows job has not read yet; WAIT=60 waits for them.",
    )
    behind = Rows(readings=3, windows=5, counted=6, rejected=5, twice=0)
    assert "2 records that the windows job and 2 rows that Druid has not read yet" in report.verdict(moved, behind)[1]
    assert report.verdict(replace(moved, unread=0), more)[0] == 3
    # Had the job not gone on, nothing would account for them.
    assert "2 windows emitted ahead of the watermark, 2 records rejected without having been read; see" in said(books)


def test_before_the_first_token_everything_is_unread() -> None:
    assert figures(close([], RECORDS)) == (8, 0, 0, 0, 0, 8, 0)
    assert unread({0: 5}, {0: 0, 1: 7}, {0: 9, 1: 9}) == 6


BROKEN: dict[str, tuple[dict[str, Any], tuple[int, ...], str]] = {
    "a missing window": (
        {"windows": WINDOWS[1:]},
        (8, 1, 2, 0, 3, 0, 2),
        '1 missing window with 2 readings; see it with: SELECT * FROM "sensor-data-raw" WHERE entity = 1'
        " AND __time >= TIMESTAMP '2026-01-01 00:00:00' AND __time < TIMESTAMP '2026-01-01 00:00:10'",
    ),
    "a doubled window": (
        {"windows": [*WINDOWS, *WINDOWS, WINDOWS[0]]},
        (8, 3, 2, 0, 3, 0, 0),
        '2 windows appearing twice; see it with: SELECT * FROM "sensor-data-aggregated"'
        " WHERE __time = TIMESTAMP '2026-01-01 00:00:00' AND entity = 1",
    ),
    "wrong counts": (
        {"windows": [window(0, 4), window(0, 0, entity=2)]},
        (8, 3, 2, 0, 3, 0, 0),
        '2 windows counting 2 readings too many and 1 too few; see it with: SELECT * FROM "sensor-data-raw"',
    ),
    "a window of nothing": (
        {"windows": [*WINDOWS, window(0, 7, entity=3)]},
        (8, 3, 2, 0, 3, 0, 0),
        '1 window without readings, counting 7; see it with: SELECT * FROM "sensor-data-aggregated"',
    ),
    "an early window": (
        {"windows": [*WINDOWS, window(10, 1)]},
        (8, 3, 2, 0, 3, 0, 0),
        "1 window emitted ahead of the watermark; see it with: SELECT",
    ),
    "unexplained records": (
        {"rejects": REJECTS[1:2]},
        (8, 3, 2, 0, 1, 0, 2),
        "2 records neither rejected nor a reading; see it at partition 0, offset 2 of sensor-data-raw",
    ),
    "a reject named twice": (
        {"rejects": [*REJECTS, reject(2)]},
        (8, 3, 2, 0, 3, 0, 0),
        '1 record rejected twice; see it with: SELECT * FROM "sensor-data-rejected"'
        ' WHERE "partition" = 0 AND "offset" = 2',
    ),
    "a reject of nothing": (
        {"rejects": [*REJECTS, reject(3, partition=7)], "tokens": [token([8, 0, 0, 0, 0, 0, 0, 4], 10)]},
        (8, 3, 2, 0, 3, 0, 0),
        "1 partition ending before what the windows job has read, 1 record rejected but not there; see it at partition"
        " 7, offset 0 of sensor-data-raw",
    ),
    "what is no window": (
        {"windows": [*WINDOWS, b"{}"]},
        (8, 3, 2, 0, 3, 0, 0),
        "1 malformed record of the windows job; see it at partition 0, offset 2 of sensor-data-aggregated",
    ),
    "what is no reject": (
        {"rejects": [*REJECTS, b"\xff"]},
        (8, 3, 2, 0, 3, 0, 0),
        "1 malformed record of the windows job; see it at partition 0, offset 3 of sensor-data-rejected",
    ),
}


@pytest.mark.parametrize(("changed", "expected", "words"), BROKEN.values(), ids=BROKEN)
def test_broken_books(changed: dict[str, Any], expected: tuple[int, ...], words: str) -> None:
    given = {"tokens": TOKENS, "windows": WINDOWS, "rejects": REJECTS} | changed
    books = close(raw=RECORDS, **given)
    assert figures(books) == expected
    code, sentence = report.verdict(books, books.kafka)
    assert code == 1
    assert sentence.startswith(f"The books do not close: {words}")
    # What is broken doesn't wait for what is under way.
    assert report.verdict(replace(books, unread=5), books.kafka)[0] == 1


def test_a_topic_that_lost_its_beginning_cant_close_the_books() -> None:
    tokens = [token([500], 0), token([502], 10)]
    books = close(tokens, [reading(1), reading(2)], [window(0, 9)], [reject(3)], first=500)
    assert figures(books) == (2, 2, 0, 0, 0, 0, 0)
    assert said(books).startswith(
        "The books do not close: 1 partition whose first 500 records retention removed, 1 window counting 7 readings"
        " too many and 0 too few; see it at partition 0, offset 500 of sensor-data-raw"
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (0, "The books close")),
        ({"readings": 3}, (3, "Still under way: 2 rows that Druid has not read yet; WAIT=60 waits for them.")),
        ({"windows": 1, "counted": 1}, (3, "Still under way: 1 rows that Druid")),
        ({"readings": 0, "windows": 0, "counted": 0, "rejected": 0}, (3, "Still under way: 10 rows that Druid")),
        ({"readings": 6}, (1, "The books do not close: 1 reading more in Druid than in Kafka; see it with: SELECT")),
        ({"readings": 6, "windows": 0}, (1, "The books do not close: 1 reading more")),
        ({"rejected": 5}, (1, "The books do not close: 2 rejects more in Druid")),
        ({"windows": 3, "counted": 5, "twice": 1}, (1, "The books do not close: 1 window more in Druid than in Kafka")),
        ({"counted": 2}, (1, "The books do not close: 1 reading less in Druid's windows than in Kafka's")),
        ({"windows": 1, "counted": 4}, (1, "The books do not close: 1 reading more in Druid's windows")),
    ],
)
def test_what_druid_lacks_is_under_way_and_what_it_has_more_is_wrong(
    changes: dict[str, int], expected: tuple[int, str]
) -> None:
    books = close(TOKENS, RECORDS, WINDOWS, REJECTS)
    code, sentence = report.verdict(books, replace(books.kafka, **changes))
    assert code == expected[0]
    assert sentence.startswith(expected[1])


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
        ([1, "2", 2.0, None, True, 2], 0, 0, 0),  # what is no whole number is no seq
    ],
)
def test_seqs(seqs: list[Any], duplicates: int, gaps: int, out_of_order: int) -> None:
    books = close([token([len(seqs)], 0)], [reading(1, seq=seq) for seq in seqs])
    assert (books.duplicates, books.gaps, books.out_of_order) == (duplicates, gaps, out_of_order)
    assert report.verdict(books, books.kafka)[0] == 0  # that is the senders' affair


def test_seqs_are_a_vehicles_own_and_many_wild_ones_cost_little() -> None:
    books = close([token([4], 0)], [reading(1, 1, 5), reading(1, 2, 5), reading(1, 1, 6), reading(1, 2, 7)])
    assert (books.duplicates, books.gaps, books.out_of_order) == (0, 1, 0)
    wild = [reading(1, seq=(n * 2**40 + n) % 2**63) for n in range(20_000)]
    books = close([token([len(wild)], 0)], wild)
    assert books.duplicates == 0
    assert books.gaps == max(json.loads(value)["seq"] for value in wild) + 1 - 20_000


def test_a_late_reading_is_not_out_of_order_besides_but_may_be_a_duplicate() -> None:
    tokens = [token([3], 10), token([6], 10)]
    raw: list[bytes | None] = [reading(1, seq=1), reading(2, seq=4), reading(3, seq=5)]
    raw += [reading(4, seq=2), reading(1, seq=1), reading(11, seq=3)]
    books = close(tokens, raw, [window(0, 3)])
    assert (books.late.total(), books.duplicates, books.gaps, books.out_of_order) == (2, 1, 0, 1)


@pytest.mark.parametrize(
    ("time", "start"),
    [
        ("2026-01-01T00:00:00Z", 0),
        ("2026-01-01T00:00:09.999999Z", 0),
        ("2026-01-01T00:00:19.9Z", 10),
        ("2026-01-01T00:00:29.1234567Z", 20),
        ("2026-01-01T00:01Z", 60),
        ("2026-01-01T01:00:10+01:00", 10),
        ("1969-12-31T23:59:59.5Z", -MINUTE // 1000 - 10),
    ],
)
def test_the_window_of_a_time(time: str, start: int) -> None:
    value = json.dumps({"time": time, "entity": 1}).encode()
    late = close([token([0], 90), token([1], 90)], [value]).late
    assert late == {(MINUTE + start * 1000, 1): 1}


@pytest.mark.parametrize(
    "value",
    [
        b"", b"[]", b"1", b"null", b"{}", b'{"time": "2026-01-01T00:00:00Z"}', b'{"time": "", "entity": 1}',
        b'{"time": "2026-01-01T00:00:00", "entity": 1}', b'{"time": "Z", "entity": 1}', b'{"time": 1, "entity": 1}',
        b'{"time": ["Z"], "entity": 1}', b'{"time": {}, "entity": 1}',
        b'{"time": "2026-01-01T00:00:00Z", "entity": []}', b'{"time": "2026-01-01T00:00:00Z", "entity": 1.5}',
        b'{"time": "2026-01-01T00:00:00Z", "entity": true}', b"[" * 100_000, b"1" * 5000, None,
    ],
)  # fmt: skip
def test_what_is_no_reading_and_was_not_rejected_is_unexplained(value: bytes | None) -> None:
    assert close([token([1], 0)], [value]).unexplained == [(0, 0)]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"query_id": "q", "batch_id": 1, "windows": 3}'])
def test_a_token_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="a token that can't be read"):
        Progress().add(text.encode())


def test_windows_of_two_lengths() -> None:
    progress = Progress()
    progress.add(token([1], 0))
    with pytest.raises(ValueError, match="changed its windows from 10 to 60 seconds"):
        progress.add(token([1], 0).replace(b'"window_seconds": 10', b'"window_seconds": 60'))


def test_the_table() -> None:
    tokens = [token([4], 10), token([8], 10), token([20], 10)]
    late: list[bytes | None] = [reading(n % 2, entity=n + 10, seq=n) for n in range(11)]
    books = close(tokens, [*RECORDS, *late, reading(3, 10, HUGE)], WINDOWS, REJECTS)
    assert (
        report.table(books, replace(books.kafka, readings=12_345))
        == """\
  records in the raw topic                        20
    in windows that are emitted                    3
    in windows still open                          2
    late                                          12
    rejected                                       3
    not yet read by the windows job                0
    in none of these                               0

                                   Kafka       Druid
  readings                            17      12,345
  windows                              2           2
  readings in windows                  3           3
  rejected                             3           3
  windows that appear twice            0           0

  duplicates by (entity, seq)          0
  gaps in seq  9,223,372,036,854,775,806
  out of order                         0

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


def test_a_reading_with_a_field_that_is_nested_very_deeply_is_one() -> None:
    nested = b'[{"a":"]}"},' * 50_000 + b"1" + b"]" * 50_000
    value = b'{"time":"2026-11-24T10:00:00.000Z","x":' + nested + b',"entity":7,"text":"}{"}'
    assert _loads(value) == {"time": "2026-11-24T10:00:00.000Z", "x": None, "entity": 7, "text": "}{"}
