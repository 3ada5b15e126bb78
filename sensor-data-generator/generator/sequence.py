"""The last reading of each vehicle, read from the end of the raw topic, so that a new run continues from it."""

import json
import logging
import math
import re
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import CorruptRecordError, KafkaTimeoutError, UnsupportedCodecError
from kafka_client import KafkaClient
from service import contract

# Others may send to the topic too. To continue from a seq near the end of 64 bits would leave no numbers.
HIGHEST_SEQ = 2**62
# Seconds without progress. A consumer of kafka-python 3.0.12 may get no record any more when the broker was restarted:
# then another one begins again, until LIMIT seconds after the start.
IDLE_TIMEOUT, LIMIT = 10, 120

_WHOLE_NUMBER = re.compile("[1-9][0-9]{0,17}")

logger = logging.getLogger(__name__)


class Last(NamedTuple):
    """The newest that the topic has of a vehicle; the three may be of different readings."""

    seq: int
    time: int  # event time, milliseconds since the epoch; 0 if no reading has one
    sent: int  # Kafka's timestamp of the newest record, milliseconds since the epoch


def last_seq(kafka: KafkaClient, topic: str, num_entities: int) -> dict[int, int]:
    """The highest `seq` found of each vehicle 1..num_entities, as last_readings() finds it."""
    return {entity: last.seq for entity, last in last_readings(kafka, topic, num_entities).items()}


def last_readings(kafka: KafkaClient, topic: str, num_entities: int) -> dict[int, Last]:
    """The last reading of each vehicle 1..num_entities; vehicles without one are missing.

    Reads the newest committed records of each partition, and twice as many until every vehicle is found, or all records
    are read. A vehicle's history may be in one partition, and its live readings in another. So all are read back to the
    time at which the last reading found was sent. Raises KafkaError when Kafka can't be reached or stops answering.
    """
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            return _last_readings(kafka, topic, num_entities)
        except KafkaTimeoutError as error:
            if time.monotonic() > deadline:
                raise
            logger.warning("%s; the last readings are read again", error)


def _last_readings(kafka: KafkaClient, topic: str, num_entities: int) -> dict[int, Last]:
    consumer = KafkaConsumer(
        **kafka.options(),
        isolation_level="read_committed",  # an open transaction of someone else hides what comes behind it
        auto_offset_reset="earliest",  # if retention removes what is being read
        enable_auto_commit=False,
        allow_auto_create_topics=False,
    )
    ahead = contract.topics()["raw"].schema["properties"]["time"]["x-seconds-ahead"] * 1000
    try:
        partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
        first, end = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        found: dict[int, Last] = {}
        # A stopped run with faults ends with the readings it held back, which are older than those before them.
        tail = 2 * num_entities + 20_000
        while True:
            starts = {p: max(first[p], end[p] - tail) for p in partitions}
            read_since = 0.0  # Kafka's timestamp after which every partition is read
            for partition, start in starts.items():
                begin = None
                for record in records_of(consumer, partition, start, end[partition]):
                    begin = record.timestamp if begin is None else begin
                    if (reading := _reading(record.value)) and 1 <= reading[0] <= num_entities:
                        entity, seq, at = reading
                        last = found.get(entity, Last(0, 0, 0))
                        on_time = at if at <= record.timestamp + ahead else 0  # or the job has rejected it
                        latest = max(seq, last.seq), max(on_time, last.time), max(record.timestamp, last.sent)
                        found[entity] = Last(*latest)
                if start > first[partition]:
                    read_since = max(read_since, math.inf if begin is None else begin)
            complete = len(found) == num_entities and all(last.sent > read_since for last in found.values())
            if complete or starts == first:
                return found
            tail *= 2
    finally:
        consumer.close()


def records_of(consumer: KafkaConsumer, partition: TopicPartition, start: int, end: int) -> Iterator[Any]:
    """The records from `start` up to `end`, exclusive, as kafka-python has them. Raises KafkaError."""
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
        yield from records


def _reading(value: bytes | None) -> tuple[int, int, int] | None:
    """(entity, seq, time) of a record's value; None where it has no such vehicle or no such seq.

    The time is in milliseconds since the epoch, 0 if there is none.
    """
    try:
        record = json.loads(value or b"null")
        entity, seq = _number(record["entity"]), record["seq"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if entity is None or type(seq) is not int or seq > HIGHEST_SEQ:
        return None
    return entity, seq, _milliseconds(record.get("time"))


def _milliseconds(iso: Any) -> int:
    try:
        return round(datetime.fromisoformat(iso).timestamp() * 1000)
    except (ValueError, TypeError, OverflowError):
        return 0


def _number(entity: Any) -> int | None:
    """The number of a vehicle of a fleet: 7, 7.0 and "7" are one vehicle, "07", " 7" and true are others."""
    if type(entity) is str:
        return int(entity) if _WHOLE_NUMBER.fullmatch(entity) else None
    if type(entity) is float:
        return int(entity) if entity.is_integer() else None
    return entity if type(entity) is int else None
