"""Where each vehicle's counter stood, read from the end of the raw topic, so that a new run goes on from there."""

import json

from kafka.errors import KafkaTimeoutError

from kafka import KafkaConsumer, TopicPartition


def last_seq(bootstrap_servers: str, topic: str, num_entities: int) -> dict[int, int]:
    """The highest `seq` found of each vehicle 1..num_entities; a vehicle that never sent is not in it.

    Reads the newest records of each partition, and twice as many until every vehicle was found or nothing is left.
    Raises KafkaError when the broker can't be reached or stops answering.
    """
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap_servers, enable_auto_commit=False, allow_auto_create_topics=False
    )
    try:
        partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
        first, end = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        consumer.assign(partitions)
        found: dict[int, int] = {}
        # With faults, a run that was stopped ends with readings it had held back, older than those before them.
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
    """Read up to the offsets of `end`, keeping the highest seq of each vehicle in `found`."""
    silent_polls = 0
    while any(consumer.position(partition) < offset for partition, offset in end.items()):
        batches = consumer.poll(timeout_ms=1000, max_records=10_000)
        silent_polls = 0 if batches else silent_polls + 1
        if silent_polls == 30:
            raise KafkaTimeoutError("the broker gave no record of the raw topic for 30 s")
        for records in batches.values():
            for record in records:
                reading = _reading(record.value)
                if reading and 1 <= reading[0] <= num_entities:
                    entity, seq = reading
                    found[entity] = max(seq, found.get(entity, 0))


def _reading(value: bytes | None) -> tuple[int, int] | None:
    """(entity, seq) of a record's value; None where it is not a reading of ours."""
    try:
        record = json.loads(value or b"null")
        return int(record["entity"]), int(record["seq"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
