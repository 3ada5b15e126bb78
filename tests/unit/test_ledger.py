"""The ledger: literal records, windows, rejected records and tokens in, exact figures and the verdict out.

Windows last 10 seconds.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from reconciliation import report
from reconciliation.json_values import loads, millis
from reconciliation.ledger import Ledger
from reconciliation.progress import Progress, unread
from reconciliation.result import Reconciliation, Rows
from reconciliation.verdict import verdict
from service.contract import topics

TOPICS = topics()
RAW = TOPICS["raw"].name
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


def rejected(offset: int, partition: int = 0, reason: str = "no JSON") -> bytes:
    return json.dumps({"time": "2026-01-01T00:00:00.000Z", "partition": partition, "offset": offset, "reason": reason,
                       "size": 1, "key": None, "value": "?", "value_base64": "Pw=="}).encode()  # fmt: skip


def close(
    tokens: Iterable[bytes],
    raw: list[bytes | None],
    windows: Iterable[bytes] = (),
    rejected_records: Iterable[bytes] = (),
    first: int = 0,
) -> Reconciliation:
    """The reconciliation of one partition whose records begin at offset `first`."""
    progress = Progress(RAW)
    for value in tokens:
        progress.add(value)
    ledger = Ledger(progress)
    for offset, value in enumerate(rejected_records):
        ledger.add_rejected(0, offset, value)
    for offset, value in enumerate(windows):
        ledger.add_window(0, offset, value)
    ledger.add_records(0, enumerate(raw, first))
    return ledger.close({0: first}, {0: first + len(raw)})


def judged(found: Reconciliation, druid: Rows | None = None) -> tuple[int, str]:
    """The verdict, by default with a Druid that has what Kafka has."""
    return verdict(found, druid or found.kafka, TOPICS)


def said(found: Reconciliation) -> str:
    return judged(found)[1]


def figures(found: Reconciliation) -> tuple[int, ...]:
    late, rejected = found.late.total(), found.rejected.total()
    return found.records, found.in_windows, found.in_open_windows, late, rejected, found.unread, found.in_none


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
    assert found.kafka == Rows(readings=5, windows=2, readings_in_windows=3, rejected=3, duplicate_windows=0)
    assert (found.duplicates, found.gaps, found.out_of_order) == (0, 0, 0)
    assert judged(found) == (
        0,
        "The ledger closes: 8 records = 3 in windows + 2 in open windows + 0 late + 3 rejected, in Kafka and in Druid.",
    )


def test_an_empty_ledger_closes() -> None:
    found = close([], [])
    assert figures(found) == (0, 0, 0, 0, 0, 0, 0)
    assert judged(found, Rows(0, 0, 0, 0, 0))[0] == 0


def test_a_reading_is_late_in_the_batches_after_the_one_whose_watermark_closed_its_window() -> None:
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
    found = close(tokens, raw, [window(0, 2), window(20, 2)])
    assert found.late == {(MINUTE, 1): 1, (MINUTE + 10_000, 2): 2}
    assert figures(found) == (7, 4, 0, 3, 0, 0, 0)
    assert "3 late" in said(found)


def test_each_partition_has_its_own_offsets() -> None:
    progress = Progress(RAW)
    for value in (token([1, 0], 10), token([1, 2], 10)):
        progress.add(value)
    ledger = Ledger(progress)
    ledger.add_window(1, 0, window(0, 1))
    ledger.add_rejected(0, 0, rejected(0, partition=1))
    ledger.add_records(1, [(0, b"?"), (1, reading(2, entity=2))])
    ledger.add_records(0, [(0, reading(1))])
    found = ledger.close({0: 0, 1: 0}, {0: 1, 1: 2})
    assert figures(found) == (3, 1, 0, 1, 1, 0, 0)
    assert judged(found)[0] == 0


def test_a_snapshot_while_data_flows() -> None:
    later_windows = [window(10, 1), window(10, 1), window(20, 1)]
    raw = [*RECORDS, reading(11, seq=1), b"?"]
    found = close(TOKENS, raw, [*WINDOWS, *later_windows], [*REJECTED, rejected(9), rejected(9)])
    assert figures(found) == (10, 3, 2, 0, 3, 2, 0)
    assert found.duplicates == 0  # of what the job has read
    assert found.kafka == Rows(readings=5, windows=5, readings_in_windows=6, rejected=5, duplicate_windows=0)
    outdated = replace(found, outdated=True)
    more = Rows(readings=7, windows=6, readings_in_windows=7, rejected=5, duplicate_windows=0)  # Druid has read on
    assert judged(outdated, more) == (
        3,
        "Still under way: the windows job has 2 records left to read; WAIT=60 waits for them.",
    )
    behind = Rows(readings=3, windows=5, readings_in_windows=6, rejected=5, duplicate_windows=0)
    assert "the windows job has 2 records and Druid has 2 rows left to read" in judged(outdated, behind)[1]
    assert judged(replace(outdated, unread=0), more) == (
        3,
        "Still under way: the windows job went on during the count; WAIT=60 waits for it.",
    )
    # If the job had not gone on, these would be errors.
    assert "2 windows emitted ahead of the watermark, 2 records rejected before being read; see" in said(found)


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
    "a duplicate window": (
        {"windows": [*WINDOWS, *WINDOWS, WINDOWS[0]]},
        (8, 3, 2, 0, 3, 0, 0),
        '2 windows appearing more than once; see it with: SELECT * FROM "sensor-data-aggregated"'
        " WHERE __time = TIMESTAMP '2026-01-01 00:00:00' AND entity = 1",
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
        {"rejected_records": [*REJECTED, rejected(3, partition=7)], "tokens": [token([8, 0, 0, 0, 0, 0, 0, 4], 10)]},
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


def test_a_topic_that_lost_its_beginning_does_not_close() -> None:
    tokens = [token([500], 0), token([502], 10)]
    found = close(tokens, [reading(1), reading(2)], [window(0, 9)], [rejected(3)], first=500)
    assert figures(found) == (2, 2, 0, 0, 0, 0, 0)
    assert said(found).startswith(
        "The ledger does not close: 1 partition from which retention removed the first 500 records, 1 window"
        " counting 7 readings too many and 0 too few; see it at partition 0, offset 500 of sensor-data-raw"
    )


OPEN = "The ledger does not close"


@pytest.mark.parametrize(
    ("changes", "expected", "words"),
    [
        ({}, 0, "The ledger closes"),
        ({"readings": 3}, 3, "Still under way: Druid has 2 rows left to read; WAIT=60 waits for them."),
        ({"windows": 1, "readings_in_windows": 1}, 3, "Still under way: Druid has 1 row left to read"),
        (
            {"readings": 0, "windows": 0, "readings_in_windows": 0, "rejected": 0},
            3,
            "Still under way: Druid has 10 rows left",
        ),
        ({"readings": 6}, 1, f"{OPEN}: 1 more reading in Druid than in Kafka; see it with: SELECT"),
        ({"readings": 6, "windows": 0}, 1, f"{OPEN}: 1 more reading"),
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
    tokens = [token([3], 10), token([6], 10)]
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
def test_an_invalid_record_that_was_not_rejected_is_unexplained(value: bytes | None) -> None:
    assert close([token([1], 0)], [value]).unexplained == [(0, 0)]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"query_id": "q", "batch_id": 1, "windows": 3}'])
def test_an_invalid_token(text: str) -> None:
    with pytest.raises(ValueError, match="a progress token of the windows job is invalid"):
        Progress(RAW).add(text.encode())


def test_a_changed_window_length_is_refused() -> None:
    progress = Progress(RAW)
    progress.add(token([1], 0))
    with pytest.raises(ValueError, match="changed the length of its windows from 10 to 60 seconds"):
        progress.add(token([1], 0).replace(b'"window_seconds": 10', b'"window_seconds": 60'))


def test_the_table() -> None:
    tokens = [token([4], 10), token([8], 10), token([20], 10)]
    late: list[bytes | None] = [reading(n % 2, entity=n + 10, seq=n) for n in range(11)]
    found = close(tokens, [*RECORDS, *late, reading(3, 10, HUGE)], WINDOWS, REJECTED)
    assert (
        report.table(found, replace(found.kafka, readings=12_345))
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


def test_a_reading_with_a_deeply_nested_field_counts() -> None:
    nested = b'[{"a":"]}"},' * 50_000 + b"1" + b"]" * 50_000
    value = b'{"time":"2026-11-24T10:00:00.000Z","x":' + nested + b',"entity":7,"text":"}{"}'
    assert loads(value) == {"time": "2026-11-24T10:00:00.000Z", "x": None, "entity": 7, "text": "}{"}


def test_the_figures_for_programs() -> None:
    found = close(TOKENS, RECORDS, WINDOWS, REJECTED)
    rows = {"readings": 5, "windows": 2, "readings_in_windows": 3, "rejected": 3, "duplicate_windows": 0}
    assert report.figures(found, replace(found.kafka, readings=4)) == {
        "records": 8,
        "in_windows": 3,
        "in_open_windows": 2,
        "late": 0,
        "rejected": 3,
        "unread": 0,
        "in_none": 0,
        "kafka": rows,
        "druid": rows | {"readings": 4},
        "duplicates": 0,
        "gaps": 0,
        "out_of_order": 0,
        "rejected_by_reason": {"no JSON": 2, "no value": 1},
    }


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
