"""Literal records of every topic, and the ledger that they make up. Windows last 10 seconds."""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from reconciliation import parts, reconcile
from reconciliation.json_values import millis
from reconciliation.ledger import StateMismatch
from reconciliation.progress import Progress
from reconciliation.result import Reconciliation, Rows
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

    It makes no difference whether the ledger takes the tokens at once or one after the other, or goes on from the state
    of an earlier run, whichever tokens that had.
    """
    tokens, first = list(tokens), {"raw": 0, **more.get("removed", {})}
    if not progressed(tokens).records:
        tokens = counting(tokens, first["raw"], first["raw"] + len(raw))
    records = {"raw": raw, "aggregated": windows, "rejected": rejected_records, "late": more.get("late_records", ())}
    later = list(more.get("later_tokens", ()))
    kafka = Log(records | {"progress": [*tokens, *later]}, first)
    found, _ = run(kafka, len(tokens))
    with patch.object(parts, "PART", 0):
        assert_same(found, run(kafka, len(tokens))[0])
        if tokens:  # and after a batch that has read nothing
            nothing = json.dumps({**json.loads(tokens[-1]), "records": 0, "late": 0}).encode()
            idle = Log(records | {"progress": [*tokens, nothing, *later]}, first)
            assert_same(found, run(idle, len(tokens) + 1)[0])
    for number in range(len(tokens)):
        before, state = run(kafka, number)
        if judged(before)[0] == 1:
            continue
        try:
            assert_same(found, run(kafka, len(tokens), json.loads(json.dumps(state)))[0])
        except StateMismatch:
            assert len(progressed(tokens).lengths) > 1
    return found


def counting(tokens: list[bytes], first: int, end: int) -> list[bytes]:
    """The tokens with the number of records between the offsets that are there."""
    counted, read = [], first
    for value in tokens:
        row = json.loads(value)
        up_to = max(read, min(end, row["offsets"][RAW].get("0", 0)))
        counted.append(json.dumps(row | {"records": up_to - read}).encode())
        read = up_to
    return counted


class Log:
    """One partition of each topic: its records and its first offset, by role."""

    def __init__(self, records: dict[str, Iterable[bytes | None]], first: dict[str, int]) -> None:
        self.records = {TOPICS[role].name: list(values) for role, values in records.items()}
        self.begin = {TOPICS[role].name: offset for role, offset in first.items()}

    def first(self, topic: str) -> dict[int, int]:
        return {0: self.begin.get(topic, 0)}

    def end(self, topic: str) -> dict[int, int]:
        return {0: self.begin.get(topic, 0) + len(self.records[topic])}

    committed_end = end

    def read(self, topic: str, first: dict[int, int], end: dict[int, int]) -> Iterator[tuple[int, list[Any]]]:
        begin = self.begin.get(topic, 0)
        for offset in range(max(begin, first.get(0, 0)), end[0]):
            yield 0, [SimpleNamespace(offset=offset, value=self.records[topic][offset - begin])]


def run(kafka: Log, number: int, state: Any = None) -> tuple[Reconciliation, Any]:
    """The reconciliation up to the token of that number, and the state from which a later run goes on."""
    begin = dict(state["positions"]["progress"])[0] if state else 0
    progress = Progress.resumed(RAW, state) if state else Progress(RAW)
    for value in kafka.records[TOPICS["progress"].name][begin:number]:
        progress.add(value)
    sources = reconcile.Sources(kafka, NoDruid(), TOPICS, time.monotonic())  # type: ignore[arg-type]
    end = {0: max(progress.offsets.get(0, 0), kafka.first(RAW)[0])}
    if number == len(kafka.records[TOPICS["progress"].name]) or state or not number:
        end = kafka.end(RAW)
    return reconcile.count(sources, progress, {0: number}, end, state)


class NoDruid:
    """Has no rejected records."""

    def rejected(self, *_: Any) -> Iterator[Any]:
        return iter(())


def assert_same(one: Reconciliation, other: Reconciliation) -> None:
    """Equal in every figure, or other records are wrong in `other` because they are about verified ones."""
    assert judged(other)[0] == judged(one)[0]
    if other.again:
        assert judged(one)[0] == 1
        return
    other = replace(other, verified_before=one.verified_before)
    if one.removed.get("raw"):
        assert excused(other) == excused(one)
        one, other = (replace(each, excused=0, wrong={}, without_readings={}) for each in (one, other))
    assert other == one


def excused(found: Reconciliation) -> int:
    """The readings that windows count but that aren't in the raw topic."""
    more = sum(max(0, emitted - count) for count, emitted in found.wrong.values())
    return found.excused + more + sum(found.without_readings.values())


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


HUGE = 2**63 - 1
