"""What the windows job has read, by its newest committed progress token."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from generator import job
from generator.job import WindowsJob
from kafka import TopicPartition
from kafka_client import KafkaClient
from service import contract

[EXAMPLE] = contract.topics()["progress"].schema["examples"]


class FakeConsumer:
    """A progress topic with `values`; of the raw topic, the end offsets 100 and 50."""

    def __init__(self, values: list[bytes | None], first: int) -> None:
        self.values, self.first, self.at = values, first, 0
        self.isolation_levels: list[str] = []
        self.starts: list[int] = []

    def __call__(self, **options: Any) -> "FakeConsumer":
        assert not (options["enable_auto_commit"] or options["allow_auto_create_topics"] or options.get("group_id"))
        self.isolation_levels.append(options["isolation_level"])
        return self

    def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, self.first)

    def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        ends = {("progress", 0): len(self.values), ("raw", 0): 100, ("raw", 1): 50}
        return {each: ends[each.topic, each.partition] for each in partitions}

    def partitions_for_topic(self, _topic: str) -> set[int]:
        return {0, 1}

    def assign(self, _partitions: list[TopicPartition]) -> None:
        pass

    def seek(self, _partition: TopicPartition, offset: int) -> None:
        self.starts.append(offset)
        self.at = offset

    def position(self, _partition: TopicPartition) -> int:
        return self.at

    def poll(self, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        values, self.at = self.values[self.at :], len(self.values)
        return {TopicPartition("progress", 0): [SimpleNamespace(value=value) for value in values if value != b"marker"]}

    def close(self) -> None:
        self.isolation_levels.pop()


def windows_job(monkeypatch: pytest.MonkeyPatch, values: list[bytes | None], first: int = 0) -> FakeConsumer:
    consumer = FakeConsumer(values, first)
    monkeypatch.setattr(job, "KafkaConsumer", consumer)
    return consumer


def token(**offsets: int) -> bytes:
    return json.dumps({**EXAMPLE, "offsets": {"control": {"0": 9}, "raw": offsets}}).encode()


def test_what_the_job_has_not_read_is_the_difference_to_its_newest_token(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = [token(**{"0": 80, "1": 50}), token(**{"0": 93, "1": 50}), b"marker"]
    consumer = windows_job(monkeypatch, tokens)
    with WindowsJob(KafkaClient("kafka:1"), "raw", "progress") as asked:
        assert asked.ends() == {"0": 100, "1": 50}
        assert asked.unread({"0": 100, "1": 50}) == 7
        assert asked.unread({"0": 93, "1": 49}) == 0
        consumer.values.append(token(**{"0": 99}))
        assert asked.unread({"0": 100, "1": 50}) == 51
        # The tokens of open and aborted transactions don't count, the readings do.
        assert consumer.isolation_levels == ["read_committed", "read_uncommitted"]
    assert not consumer.isolation_levels


def test_without_a_token_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    windows_job(monkeypatch, [b"marker"])
    with WindowsJob(KafkaClient("kafka:1"), "raw", "progress") as asked:
        assert asked.token() is None
        assert asked.unread({"0": 100, "1": 50}) == 150


def test_the_newest_token_is_found_behind_what_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = [None, b"", b"[]", b"{}", b"[" * 100_000, *[b"marker"] * 100]
    consumer = windows_job(monkeypatch, [token(), token(**{"0": 5}), *foreign], first=1)
    with WindowsJob(KafkaClient("kafka:1"), "raw", "progress") as asked:
        found = asked.token()
        assert found and found["offsets"]["raw"] == {"0": 5}
        assert consumer.starts == [107 - 16, 1]
