"""Checked delivery to Kafka: every record's result is looked at, and only so many are under way at a time."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from itertools import islice

from kafka.errors import KafkaError

from kafka import KafkaProducer, TopicPartition

from batch import Batch, append
from fleet import Record

# Records that are handed over together.
BLOCK = 1000


class Deliveries:
    """Counts what was sent, acknowledged by the broker, and failed: sent = acknowledged + failed after close().

    kafka-python puts no bound on what it buffers. Here, at most `max_in_flight` records wait for their result;
    beyond that, send() waits for the oldest. `stopping` is asked while it waits: once true, nothing waits any more.
    """

    def __init__(self, producer: KafkaProducer, topic: str, max_in_flight: int, stopping: Callable[[], bool]) -> None:
        self._producer = producer
        self._topic = topic
        self._max_in_flight = max_in_flight
        self._stopping = stopping
        self._partitions: dict[bytes, TopicPartition] = {}  # by key
        self._in_flight: deque[Batch] = deque()
        self.sent = 0
        self.acknowledged = 0
        self.failed = 0
        self.last_error: BaseException | None = None

    def send(self, records: Iterable[Record]) -> None:
        """Hand records to the producer, in order, waiting while `max_in_flight` others have no result yet."""
        records = iter(records)
        while block := list(islice(records, min(BLOCK, self._max_in_flight))):
            self._settle_finished()
            while self._without_result() + len(block) > self._max_in_flight and not self._stopping():
                self._in_flight[0].wait(timeout=0.2)
                self._settle_finished()
            self.sent += len(block)
            for partition, those in self._by_partition(block).items():
                self._in_flight += append(self._producer, partition, those)

    def close(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the results that are missing; what has none by then counts as failed."""
        try:
            self._producer.close(timeout=timeout)
        except KafkaError as error:
            self.last_error = error
        for batch in self._in_flight:
            if batch.has_result:
                self._settle(batch)
        if missing := self._without_result():
            self.failed += missing
            self.last_error = KafkaError(f"no answer from the broker within {timeout:g} s of the end")
        self._in_flight.clear()

    def _without_result(self) -> int:
        return self.sent - self.acknowledged - self.failed

    def _by_partition(self, records: list[Record]) -> dict[TopicPartition, list[Record]]:
        partitions = self._partitions
        split: defaultdict[TopicPartition, list[Record]] = defaultdict(list)
        for record in records:
            key = record[0]
            if key not in partitions:
                partitions[key] = TopicPartition(self._topic, self._partition(key))
            split[partitions[key]].append(record)
        return split

    def _partition(self, key: bytes) -> int:
        """The partition that the producer itself would choose, always the same for a key."""
        partition: int = self._producer._partition(self._topic, None, key, None, key, None)
        return partition

    def _settle_finished(self) -> None:
        while self._in_flight and self._in_flight[0].has_result:
            self._settle(self._in_flight.popleft())

    def _settle(self, batch: Batch) -> None:
        failures = batch.failures()
        self.acknowledged += batch.record_count - len(failures)
        if failures:
            self.failed += len(failures)
            self.last_error = failures[-1]
