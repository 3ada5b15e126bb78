"""What the verbs ask Kafka."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from kafka_client import KafkaClient

from local_stack.errors import Unhealthy


@dataclass(frozen=True)
class Kafka:
    """A Kafka cluster. Its methods raise Unhealthy when there is no answer."""

    client: KafkaClient

    def offsets(self, topic: str) -> tuple[int, int]:
        """The first and the end offset of a topic, each summed over its partitions; (0, 0) where there is none."""
        with self._consumer() as consumer:
            partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
            first, end = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
            return sum(first.values()), sum(end.values())

    def records(self, topic: str) -> int:
        """The records of a topic; ends of transactions, and what they aborted, count as well."""
        first, end = self.offsets(topic)
        return end - first

    def topics(self) -> set[str]:
        with self._consumer() as consumer:
            return set(consumer.topics())

    @contextmanager
    def _consumer(self) -> Iterator[KafkaConsumer]:
        try:
            consumer = KafkaConsumer(
                **self.client.options(),
                bootstrap_timeout_ms=5000,
                allow_auto_create_topics=False,
                isolation_level="read_committed",  # as the windows job reads
            )
            try:
                yield consumer
            finally:
                consumer.close()
        except KafkaError as error:
            raise Unhealthy(f"Kafka does not answer at {self.client.servers} ({error})") from error
