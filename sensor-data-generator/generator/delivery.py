"""Checked delivery to Kafka: every record's result is checked, and the number of records in flight is bounded."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from itertools import islice

from kafka import KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from kafka_batches import Batch, abort, append, partition_for
from kafka_client import KafkaClient

from generator.fleet import Record

# Records given to kafka_batches at a time.
BLOCK = 1000


def connect(kafka: KafkaClient, topic: str, timeout: float) -> KafkaProducer:
    """An idempotent producer for `topic`. Raises KafkaError when there is no broker within `timeout` s, or no topic."""
    producer = KafkaProducer(
        **kafka.options(),
        bootstrap_timeout_ms=int(timeout * 1000),
        reconnect_backoff_max_ms=1000,
        allow_auto_create_topics=False,
        enable_idempotence=True,
        acks="all",
        compression_type="lz4",
        linger_ms=20,
        batch_size=128 * 1024,
    )
    if not producer.partitions_for(topic):
        raise KafkaError(f"there is no topic {topic}; kafka/create_topics.py creates it")
    return producer


class Deliveries:
    """Counts the records sent, acknowledged by Kafka, and failed: after close(), sent = acknowledged + failed.

    kafka-python's buffer has no bound. Here, at most `max_in_flight` records wait for their result; beyond that, send()
    waits for the oldest, unless `stopping` returns true.
    """

    def __init__(self, producer: KafkaProducer, topic: str, max_in_flight: int, stopping: Callable[[], bool]) -> None:
        self._producer = producer
        self._topic = topic
        self._max_in_flight = max_in_flight
        self._stopping = stopping
        self._number_of_partitions = len(producer.partitions_for(topic))
        self._partitions: dict[bytes, TopicPartition] = {}  # by key
        self._in_flight: deque[Batch] = deque()
        self.sent = 0
        self.acknowledged = 0
        self.failed = 0
        self.last_error: BaseException | None = None

    def send(self, records: Iterable[Record], to: int | None = None) -> None:
        """Hand records to the producer, in order. Waits while `max_in_flight` records have no result yet.

        The key chooses the partition of each record; with `to`, all go to the partition of that number. Kafka keeps the
        order within a partition only.
        """
        records = iter(records)
        one = None if to is None else TopicPartition(self._topic, to)
        while block := list(islice(records, min(BLOCK, self._max_in_flight))):
            self.await_results(of_all_but=self._max_in_flight - len(block))
            self.sent += len(block)
            for partition, those in ({one: block} if one else self._by_partition(block)).items():
                self._in_flight += append(self._producer, partition, those)

    def await_results(self, of_all_but: int = 0) -> None:
        """Wait until all records have a result, `of_all_but` of them excepted, or until a stop is requested."""
        self.settle()
        while self._without_result() > of_all_but and not self._stopping():
            self._in_flight[0].wait(timeout=0.2)
            self.settle()

    def settle(self) -> None:
        """Count the records that have a result by now."""
        while self._in_flight and self._in_flight[0].has_result:
            self._count(self._in_flight.popleft())

    def close(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the missing results. Records that have none by then count as failed.

        None of them is delivered later.
        """
        closed = True
        try:
            self._producer.close(timeout=timeout)
        except KafkaError as error:
            self.last_error, closed = error, False
        for batch in self._in_flight:
            if batch.has_result:
                self._count(batch)
        if missing := self._without_result():
            self.failed += missing
            self.last_error = KafkaError(f"Kafka did not answer within {timeout:g} s after the end")
        self._in_flight.clear()
        if not closed:
            abort(self._producer)

    def _without_result(self) -> int:
        return self.sent - self.acknowledged - self.failed

    def _by_partition(self, records: list[Record]) -> dict[TopicPartition, list[Record]]:
        partitions = self._partitions
        split: defaultdict[TopicPartition, list[Record]] = defaultdict(list)
        for record in records:
            key = record[0]
            if key not in partitions:
                partitions[key] = TopicPartition(self._topic, partition_for(key, self._number_of_partitions))
            split[partitions[key]].append(record)
        return split

    def _count(self, batch: Batch) -> None:
        failures = batch.failures()
        self.acknowledged += batch.record_count - len(failures)
        if failures:
            self.failed += len(failures)
            self.last_error = failures[-1]
