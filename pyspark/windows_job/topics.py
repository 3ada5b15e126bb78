"""What the job asks of Kafka's topics besides the records that Spark reads."""

import json
import logging
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError
from kafka_client import KafkaClient

Token = dict[str, Any]  # schemas/sensor-data-progress.schema.json
TOKEN_FIELDS = {"query_id", "batch_id", "offsets", "watermark", "newest", "totals"}  # those that the job needs
IDLE_POLLS = 30  # of a second each

logger = logging.getLogger(__name__)


def last_token(kafka: KafkaClient, topic: str) -> Token | None:
    """The newest committed progress token, None where there is none. What is no token is passed over.

    Raises KafkaError when the broker can't be reached or gives no record for 30 seconds.
    """
    partition = TopicPartition(topic, 0)
    consumer = KafkaConsumer(**kafka.options(), isolation_level="read_committed", enable_auto_commit=False)
    try:
        consumer.assign([partition])
        first, end = consumer.beginning_offsets([partition])[partition], consumer.end_offsets([partition])[partition]
        # The last offsets belong to the markers of transactions, some of them perhaps aborted.
        tail = 16
        while True:
            start = max(first, end - tail)
            consumer.seek(partition, start)
            values = _values(consumer, partition, end)
            tokens = [token for token in map(_token, values) if token]
            if tokens or start == first:
                if foreign := len(values) - len(tokens):
                    logger.warning("%d records of %s are no progress tokens: they are ignored", foreign, topic)
                return tokens[-1] if tokens else None
            tail *= 8
    finally:
        consumer.close()


def _values(consumer: KafkaConsumer, partition: TopicPartition, end: int) -> list[bytes | None]:
    values: list[bytes | None] = []
    idle_polls = 0
    while consumer.position(partition) < end:
        records = consumer.poll(timeout_ms=1000).get(partition, [])
        idle_polls = 0 if records else idle_polls + 1
        if idle_polls == IDLE_POLLS:
            raise KafkaTimeoutError(f"the broker gave no record of {partition.topic} for {IDLE_POLLS} s")
        values += [record.value for record in records]
    return values


def _token(value: bytes | None) -> Token | None:
    """The token that a record of the progress topic holds; None where somebody else has sent the record."""
    try:
        token = json.loads(value or b"")
    except (ValueError, RecursionError):
        return None
    return token if isinstance(token, dict) and token.keys() >= TOKEN_FIELDS else None


def offsets(kafka: KafkaClient, topic: str) -> tuple[dict[str, int], dict[str, int]]:
    """The first and the end offset of each partition of a topic, by partition. Raises KafkaError."""
    consumer = KafkaConsumer(**kafka.options(), enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
        first, end = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        return _by_partition(first), _by_partition(end)
    finally:
        consumer.close()


def _by_partition(offsets: dict[TopicPartition, int]) -> dict[str, int]:
    return {str(each.partition): offset for each, offset in offsets.items()}
