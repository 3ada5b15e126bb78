"""The ledger of a simulated job, over two partitions: in parts, in runs, and with retention between the runs."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from ledger_fakes import AGGREGATED, LATE, PROGRESS, RAW, REJECTED, RUNS, TOPICS, FakeDruid
from ledger_records import MINUTE, NoDruid, iso, judged, reading
from reconciliation import parts, reconcile
from reconciliation.reconcile import Sources, State
from reconciliation.result import Reconciliation

BATCHES = 30
PARTITIONS = {RAW: 2, AGGREGATED: 2, REJECTED: 1, LATE: 1, PROGRESS: 1, RUNS: 1}


class SimulatedJob:
    """Kafka with a windows job that reads random readings: some late, invalid, twice, out of order or missing."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        # By topic and partition: offsets and values. Every batch leaves an offset without a record, as its transaction.
        self.log: dict[str, list[list[tuple[int, bytes]]]] = {
            topic: [[] for _ in range(number)] for topic, number in PARTITIONS.items()
        }
        self.ends = {topic: [0] * number for topic, number in PARTITIONS.items()}
        self.begins = {topic: [0] * number for topic, number in PARTITIONS.items()}
        self.second = self.watermark = 0
        self.open: Counter[tuple[int, int]] = Counter()
        self.seq: Counter[int] = Counter()

    def append(self, topic: str, partition: int, value: bytes | None) -> int:
        offset = self.ends[topic][partition]
        if value is not None:
            self.log[topic][partition].append((offset, value))
        self.ends[topic][partition] += 1
        return offset

    def batch(self) -> None:
        late, records = 0, 0
        for _ in range(self.random.randrange(20)):
            self.second += self.random.randrange(3)
            vehicle, kind = self.random.randrange(5), self.random.random()
            partition = vehicle % 2
            records += 1
            if kind < 0.1:
                offset = self.append(RAW, partition, b"?")
                about = {"partition": partition, "offset": offset, "reason": f"reason {offset % 3}"}
                self.append(REJECTED, 0, json.dumps(about).encode())
                continue
            second = max(0, self.second - self.random.choice((0, 0, 0, 15, 40)))
            self.seq[vehicle] += self.random.choice((0, 1, 1, 1, 1, 3))
            offset = self.append(RAW, partition, reading(second % 60, vehicle, self.seq[vehicle]).replace(
                b"00:00:", f"00:{second // 60:02}:".encode()
            ))  # fmt: skip
            start = second // 10 * 10
            if start + 10 > self.watermark:
                self.open[start, vehicle] += 1
                continue
            late += 1
            window = {"window_start": iso(start), "window_end": iso(start + 10), "entity": str(vehicle)}
            about = window | {"partition": partition, "offset": offset, "watermark": iso(self.watermark)}
            self.append(LATE, 0, json.dumps(about).encode())
        self.emit()
        offsets = {str(partition): end for partition, end in enumerate(self.ends[RAW])}
        token = {"window_seconds": 10, "watermark": MINUTE + self.watermark * 1000, "offsets": {RAW: offsets}}
        self.append(PROGRESS, 0, json.dumps(token | {"records": records, "late": late}).encode())
        for topic in (RAW, AGGREGATED, REJECTED, LATE, PROGRESS):
            for partition in range(PARTITIONS[topic]):
                self.append(topic, partition, None)
        self.watermark = max(self.watermark, self.second - 20)

    def emit(self) -> None:
        for start, vehicle in sorted(self.open):
            if start + 10 <= self.watermark:
                count = self.open.pop((start, vehicle))
                window = {"window_start": iso(start), "window_end": iso(start + 10), "entity": vehicle, "count": count}
                self.append(AGGREGATED, vehicle % 2, json.dumps(window).encode())

    def retention(self, verified: State) -> None:
        """Remove some of what is verified, in each topic another part."""
        for role, positions in verified["positions"].items():
            for partition, position in positions:
                begins = self.begins[TOPICS[role].name]
                begins[partition] = self.random.randint(begins[partition], max(begins[partition], position))

    def ids(self, names: list[str]) -> dict[str, str]:
        return dict.fromkeys(["", *names], "the same")

    def first(self, topic: str) -> dict[int, int]:
        return dict(enumerate(self.begins[topic]))

    def end(self, topic: str) -> dict[int, int]:
        return dict(enumerate(self.ends[topic]))

    committed_end = end

    def read(self, topic: str, first: dict[int, int], end: dict[int, int]) -> Iterator[tuple[int, list[Any]]]:
        for partition in sorted(end):
            begin = max(first.get(partition, 0), self.begins[topic][partition])
            found = [
                SimpleNamespace(offset=offset, value=value)
                for offset, value in self.log[topic][partition]
                if begin <= offset < end[partition]
            ]
            for at in range(0, len(found), 7):  # as many as a poll returns
                yield partition, found[at : at + 7]


def verified(job: SimulatedJob, state: State | None = None) -> tuple[Reconciliation, State]:
    before = json.loads(json.dumps(state))  # as it is read from its file
    sources = Sources(job, NoDruid(), TOPICS, 0)  # type: ignore[arg-type]
    if before:
        reconcile.check(before, sources, job.ids([TOPICS[role].name for role in reconcile.ROLES]))
    progress = reconcile.Progress.resumed(RAW, before) if before else reconcile.Progress(RAW)
    read = dict(before["positions"]["progress"]) if before else job.first(PROGRESS)
    read = parts.follow(job, PROGRESS, progress, read)  # type: ignore[arg-type]
    found, new = reconcile.count(sources, progress, read, job.end(RAW), before)
    assert judged(found)[0] == 0, judged(found)[1]
    assert new
    return replace(found, verified_before=0), new | {"ids": job.ids([TOPICS[role].name for role in reconcile.ROLES])}


@pytest.mark.parametrize("seed", range(10))
def test_parts_and_runs_make_no_difference(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    job, state = SimulatedJob(seed), None
    for number in range(BATCHES):
        job.batch()
        if job.random.random() < 0.3 or number == BATCHES - 1:
            last, state = verified(job, state)
    whole, _ = verified(job)
    assert whole.records > 150 and whole.late_readings and whole.rejected and whole.in_open_windows
    assert whole.duplicates and whole.gaps and whole.in_windows
    assert last == whole
    for size in (0, 10, 100):
        monkeypatch.setattr(parts, "PART", size)
        assert verified(job)[0] == whole


@pytest.mark.parametrize("seed", range(10))
def test_retention_between_the_runs_makes_no_difference(seed: int) -> None:
    with_retention, without = SimulatedJob(seed), SimulatedJob(seed)
    state: State | None = None
    for _ in range(BATCHES):
        with_retention.batch()
        without.batch()
        _, state = verified(with_retention, state)
        with_retention.random, kept = random.Random(seed), with_retention.random
        with_retention.retention(state)
        with_retention.random = kept
    assert any(with_retention.begins[RAW]) and any(with_retention.begins[AGGREGATED])
    assert verified(with_retention, state)[0] == verified(without)[0]


def test_the_whole_way_with_druid() -> None:
    job = SimulatedJob(1)
    for _ in range(BATCHES):
        job.batch()
    found, _ = verified(job)
    outcome = reconcile.reconcile(job, FakeDruid(found.kafka), TOPICS, 0)  # type: ignore[arg-type]
    assert (outcome.found, outcome.rows) == (found, found.kafka)
    again = reconcile.reconcile(job, FakeDruid(found.kafka), TOPICS, 0, json.loads(json.dumps(outcome.state)))  # type: ignore[arg-type]
    assert replace(again.found, verified_before=0) == found
    assert again.found.verified_before == found.records
