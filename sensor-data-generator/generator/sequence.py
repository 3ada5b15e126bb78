"""The last sequence number of each vehicle, read from the end of the raw topic, so that a new run continues from it."""

import json
import logging
import re
import time
from collections.abc import Iterator
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import CorruptRecordError, KafkaTimeoutError, UnsupportedCodecError
from kafka_client import KafkaClient

# Others may send to the topic too. To continue from a seq near the end of 64 bits would leave no numbers.
HIGHEST_SEQ = 2**62
IDLE_TIMEOUT = 30  # seconds without progress

_WHOLE_NUMBER = re.compile("[1-9][0-9]{0,17}")

logger = logging.getLogger(__name__)


def last_seq(kafka: KafkaClient, topic: str, num_entities: int) -> dict[int, int]:
    """The highest `seq` found of each vehicle 1..num_entities; vehicles without one are missing.

    Reads the newest committed records of each partition, and twice as many until every vehicle is found or all records
    are read. Raises KafkaError when Kafka can't be reached or stops answering.
    """
    consumer = KafkaConsumer(
        **kafka.options(),
        isolation_level="read_committed",  # an open transaction of someone else hides what comes behind it
        auto_offset_reset="earliest",  # if retention removes what is being read
        enable_auto_commit=False,
        allow_auto_create_topics=False,
    )
    try:
        partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
        first, end = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        found: dict[int, int] = {}
        # A stopped run with faults ends with the readings it held back, which are older than those before them.
        tail = 2 * num_entities + 20_000
        while True:
            starts = {p: max(first[p], end[p] - tail) for p in partitions}
            for partition, start in starts.items():
                for value in _values(consumer, partition, start, end[partition]):
                    reading = _entity_and_seq(value)
                    if reading and 1 <= reading[0] <= num_entities:
                        entity, seq = reading
                        found[entity] = max(seq, found.get(entity, 0))
            if len(found) == num_entities or starts == first:
                return found
            tail *= 2
    finally:
        consumer.close()


def _values(consumer: KafkaConsumer, partition: TopicPartition, start: int, end: int) -> Iterator[bytes | None]:
    """The values of the records from `start` up to `end`, exclusive. Raises KafkaError."""
    consumer.assign([partition])
    consumer.seek(partition, start)
    position, moved = start, time.monotonic()
    while position < end:
        try:
            records = consumer.poll(timeout_ms=1000, max_records=10_000).get(partition, [])
        except (UnsupportedCodecError, CorruptRecordError) as error:
            logger.warning(
                "%s can't be read from offset %d of partition %d on (%s): the seq of some vehicles may begin again.",
                partition.topic, position, partition.partition, error,
            )  # fmt: skip
            return
        if (reached := consumer.position(partition)) > position:
            position, moved = reached, time.monotonic()
        elif time.monotonic() - moved > IDLE_TIMEOUT:
            raise KafkaTimeoutError(f"Kafka returned no record of {partition.topic} for {IDLE_TIMEOUT} s")
        yield from (record.value for record in records)


def _entity_and_seq(value: bytes | None) -> tuple[int, int] | None:
    """(entity, seq) of a record's value; None where it has no such vehicle or no such seq."""
    try:
        record = json.loads(value or b"null")
        entity, seq = _number(record["entity"]), record["seq"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return (entity, seq) if entity is not None and type(seq) is int and seq <= HIGHEST_SEQ else None


def _number(entity: Any) -> int | None:
    """The number of a vehicle of a fleet: 7, 7.0 and "7" are one vehicle, "07", " 7" and true are others."""
    if type(entity) is str:
        return int(entity) if _WHOLE_NUMBER.fullmatch(entity) else None
    if type(entity) is float:
        return int(entity) if entity.is_integer() else None
    return entity if type(entity) is int else None
