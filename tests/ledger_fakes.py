"""Kafka and Druid as the ledger's snapshot sees them, with literal records."""

import json
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from reconciliation.reconcile import Outcome, reconcile
from reconciliation.result import Cut, Place, Rows
from reconciliation.verdict import verdict
from service import contract

TOPICS = contract.topics()
RAW, AGGREGATED, REJECTED, LATE, PROGRESS, RUNS = (
    TOPICS[role].name for role in ("raw", "aggregated", "rejected", "late", "progress", "runs")
)


def iso(second: int) -> str:
    return f"1970-01-01T00:{second // 60:02}:{second % 60:02}.000Z"


def reading(second: int) -> bytes:
    return json.dumps({"time": iso(second), "entity": 1}).encode()


def window(second: int, count: int) -> bytes:
    start, end = iso(second), iso(second + 10)
    return json.dumps({"window_start": start, "window_end": end, "entity": "1", "count": count}).encode()


def token(offset: int, watermark: int, records: int = 0) -> bytes:
    values = {"window_seconds": 10, "watermark": watermark * 1000, "offsets": {RAW: {"0": offset}}}
    return json.dumps(values | {"records": records, "late": 0}).encode()


class FakeKafka:
    """One partition of each topic; counts the records of the raw topic that are read."""

    def __init__(self, raw: list[bytes]) -> None:
        self.values: dict[str, list[bytes]] = {name: [] for name in (AGGREGATED, REJECTED, LATE, PROGRESS, RUNS)}
        self.values[RAW] = raw
        self.removed: dict[str, int] = {}  # first offsets
        self.open_transaction = 0  # records at the end of the raw topic
        self.raw_reads = 0

    def ids(self, names: list[str]) -> dict[str, str]:
        return {name: f"id of {name}" for name in ["", *names]}

    def first(self, topic: str) -> dict[int, int]:
        return {0: self.removed.get(topic, 0)}

    def end(self, topic: str) -> dict[int, int]:
        return {0: len(self.values[topic])}

    def committed_end(self, topic: str) -> dict[int, int]:
        return {0: len(self.values[topic]) - (self.open_transaction if topic == RAW else 0)}

    def read(self, topic: str, first: dict[int, int], end: dict[int, int]) -> Iterator[tuple[int, list[Any]]]:
        found = [SimpleNamespace(offset=at, value=value) for at, value in enumerate(self.values[topic][: end[0]])]
        found = found[first.get(0, 0) :]
        self.raw_reads += len(found) if topic == RAW else 0
        yield 0, found


class FakeDruid:
    """Gives these answers, the last one again and again."""

    def __init__(self, *answers: Rows | Exception) -> None:
        self.answers = list(answers)
        self.rejected_rows: list[tuple[Place, str]] = []

    def check_login(self) -> None:
        pass

    def rows(self, _topics: Mapping[str, contract.Topic], _cut: Cut) -> Rows:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def rejected(
        self, _topics: Mapping[str, contract.Topic], _first: Mapping[int, int], _cut: Cut
    ) -> Iterator[tuple[Place, str]]:
        yield from self.rejected_rows


def closing() -> FakeKafka:
    """A reading in a window that is emitted, and one in an open window."""
    kafka = FakeKafka([reading(1), reading(15)])
    kafka.values[PROGRESS] = [token(2, 0, records=2), token(2, 10)]
    kafka.values[AGGREGATED] = [window(0, 1)]
    return kafka


def rows(readings: int, recent: int, windows: int = 1, counted: int = 1, rejected: int = 0) -> Rows:
    return Rows(readings, recent, windows, counted, 0, rejected, 0)


def verify(kafka: FakeKafka, *druid: Rows | Exception | FakeDruid, wait: float = 0, before: Any = None) -> Outcome:
    """Reconcile with a Druid, or with these answers of one; `before` is the state of an earlier run."""
    fake = druid[0] if isinstance(druid[0], FakeDruid) else FakeDruid(*druid)  # type: ignore[arg-type]
    before = json.loads(json.dumps(before))  # as it is read from its file
    return reconcile(kafka, fake, TOPICS, wait, before)  # type: ignore[arg-type]


def said(outcome: Outcome) -> tuple[int, str]:
    return verdict(outcome.found, outcome.rows, TOPICS)


ALL, LESS, NOTHING = rows(2, 1), rows(1, 0), rows(0, 0, 0, 0)
