"""The last sequence number of each vehicle, read from the end of the raw topic, so that a new run continues from it."""

import json

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError


def last_seq(bootstrap_servers: str, topic: str, num_entities: int) -> dict[int, int]:
    """The highest `seq` found of each vehicle 1..num_entities; vehicles without one are missing.

    Reads the newest records of each partition, and twice as many until every vehicle is found or all records are read.
    Raises KafkaError when Kafka can't be reached or stops answering.
    """
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap_servers, enable_auto_commit=False, allow_auto_create_topics=False
    )
    try:
        partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
        first, end = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        consumer.assign(partitions)
        found: dict[int, int] = {}
        # A stopped run with faults ends with the readings it held back, which are older than those before them.
        tail = 2 * num_entities + 20_000
        while True:
            starts = {p: max(first[p], end[p] - tail) for p in partitions}
            for partition, start in starts.items():
                consumer.seek(partition, start)
            _read(consumer, end, num_entities, found)
            if len(found) == num_entities or starts == first:
                return found
            tail *= 2
    finally:
        consumer.close()


def _read(consumer: KafkaConsumer, end: dict[TopicPartition, int], num_entities: int, found: dict[int, int]) -> None:
    """Read up to the offsets of `end` and keep the highest seq of each vehicle in `found`."""
    empty_polls = 0
    while any(consumer.position(partition) < offset for partition, offset in end.items()):
        batches = consumer.poll(timeout_ms=1000, max_records=10_000)
        empty_polls = 0 if batches else empty_polls + 1
        if empty_polls == 30:
            raise KafkaTimeoutError("Kafka returned no record of the raw topic for 30 s")
        for records in batches.values():
            for record in records:
                reading = _entity_and_seq(record.value)
                if reading and 1 <= reading[0] <= num_entities:
                    entity, seq = reading
                    found[entity] = max(seq, found.get(entity, 0))


def _entity_and_seq(value: bytes | None) -> tuple[int, int] | None:
    """(entity, seq) of a record's value; None where one of them is not an integer: such a record has no such seq."""
    try:
        record = json.loads(value or b"null")
        entity, seq = record["entity"], record["seq"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    # Not int(entity): that would make vehicle 1 of true, and of " 1 ".
    return (entity, seq) if type(entity) is int and type(seq) is int else None
