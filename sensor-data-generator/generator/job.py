"""What the windows job has read and closed, by its newest progress token in Kafka."""

import json
from types import TracebackType
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka_client import KafkaClient

from generator.sequence import records_of

Token = dict[str, Any]  # schemas/sensor-data-progress.schema.json
TOKEN_FIELDS = {"offsets", "watermark", "newest", "window_seconds", "watermark_seconds"}  # those that are needed here


class WindowsJob:
    """Asks Kafka, while it is entered. Every method raises KafkaError."""

    def __init__(self, kafka: KafkaClient, raw_topic: str, progress_topic: str) -> None:
        self._kafka = kafka
        self._raw_topic = raw_topic
        self._progress = TopicPartition(progress_topic, 0)

    def __enter__(self) -> "WindowsJob":
        self._committed = self._consumer("read_committed")
        # Readings that an open transaction of somebody else hides are unread, too.
        self._all = self._consumer("read_uncommitted")
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._committed.close()
        self._all.close()

    def token(self) -> Token | None:
        """The newest progress token, None where the job has committed no batch yet."""
        partitions = [self._progress]
        [first] = self._committed.beginning_offsets(partitions).values()
        [end] = self._committed.end_offsets(partitions).values()
        tail = 16  # the last offsets belong to the markers of transactions, some of them perhaps aborted
        while True:
            start = max(first, end - tail)
            records = records_of(self._committed, self._progress, start, end)
            if tokens := [token for token in (_token(record.value) for record in records) if token]:
                return tokens[-1]
            if start == first:
                return None
            tail *= 8

    def ends(self) -> dict[str, int]:
        """The end offset of each partition of the raw topic."""
        partitions = [TopicPartition(self._raw_topic, p) for p in self._all.partitions_for_topic(self._raw_topic) or ()]
        return {str(each.partition): end for each, end in self._all.end_offsets(partitions).items()}

    def unread(self, ends: dict[str, int]) -> int:
        """The records of the raw topic before the offsets `ends` that the job has not read."""
        token = self.token()
        read = token["offsets"].get(self._raw_topic, {}) if token else {}
        return sum(max(0, end - read.get(partition, 0)) for partition, end in ends.items())

    def _consumer(self, isolation_level: str) -> KafkaConsumer:
        return KafkaConsumer(
            **self._kafka.options(),
            isolation_level=isolation_level,
            enable_auto_commit=False,
            allow_auto_create_topics=False,
        )


def _token(value: bytes | None) -> Token | None:
    """The token that a record of the progress topic holds; None where somebody else has sent the record."""
    try:
        token = json.loads(value or b"")
    except (ValueError, RecursionError):
        return None
    return token if isinstance(token, dict) and token.keys() >= TOKEN_FIELDS else None
