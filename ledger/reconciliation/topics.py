"""Reads Kafka's topics."""

import time
from collections.abc import Collection, Iterator
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka_client import KafkaClient, no_topic

from reconciliation.progress import Offsets

CONNECT_TIMEOUT = 10  # seconds for Kafka's first answer
# Seconds without a record while there are more. The transaction of a killed job hides what follows it for up to 70.
IDLE_TIMEOUT = 90


def connect(kafka: KafkaClient, isolation_level: str) -> KafkaConsumer:
    """A consumer without a group. Raises KafkaError when the broker doesn't answer."""
    return KafkaConsumer(
        **kafka.options(),
        bootstrap_timeout_ms=CONNECT_TIMEOUT * 1000,
        isolation_level=isolation_level,
        auto_offset_reset="earliest",  # if retention removes what is being read
        enable_auto_commit=False,
        allow_auto_create_topics=False,
        max_partition_fetch_bytes=8 * 2**20,
    )


class KafkaTopics:
    """The topics of one Kafka: their committed records, up to an end that was asked for before. Raises KafkaError."""

    def __init__(self, kafka: KafkaClient) -> None:
        self._kafka = kafka
        self._all = connect(kafka, "read_uncommitted")
        self._committed = connect(kafka, "read_committed")

    def ids(self, names: Collection[str]) -> dict[str, str]:
        """The id that Kafka gave each topic at its creation, by name, and that of the cluster, by ""."""
        with KafkaAdminClient(**self._kafka.options(), bootstrap_timeout_ms=CONNECT_TIMEOUT * 1000) as admin:
            found = {topic["name"]: str(topic["topic_id"]) for topic in admin.describe_topics(list(names))}
            return found | {"": str(admin.describe_cluster()["cluster_id"])}

    def first(self, topic: str) -> Offsets:
        return self._offsets(topic, self._all.beginning_offsets)

    def end(self, topic: str) -> Offsets:
        """The end offsets, exclusive, behind the records of open transactions: to read up to them waits for these.

        A transaction ends in one partition a moment before it ends in another. A reader up to here gets all that
        belongs to what was read elsewhere before.
        """
        return self._offsets(topic, self._all.end_offsets)

    def committed_end(self, topic: str) -> Offsets:
        """The end offsets, exclusive, before the first open transaction, whoever has opened it."""
        return self._offsets(topic, self._committed.end_offsets)

    def _offsets(self, topic: str, ask: Any) -> Offsets:
        partitions = self._all.partitions_for_topic(topic)
        if not partitions:
            raise KafkaError(no_topic(self._kafka, topic))
        found = ask([TopicPartition(topic, partition) for partition in partitions])
        return {where.partition: offset for where, offset in found.items()}

    def read(self, topic: str, first: Offsets, end: Offsets) -> Iterator[tuple[int, list[Any]]]:
        """Partition and committed records, some thousands at a time, from `first` (or 0) up to `end`.

        One partition after the other, so that nothing is fetched behind an end.
        """
        consumer = self._committed
        for partition in sorted(end):
            where, position = TopicPartition(topic, partition), first.get(partition, 0)
            if position >= end[partition]:
                continue
            consumer.assign([where])
            consumer.seek(where, position)
            moved = time.monotonic()
            while position < end[partition]:
                records = consumer.poll(timeout_ms=200, max_records=50_000).get(where, [])
                now = time.monotonic()
                reached = consumer.position(where)
                if reached > position:
                    position, moved = reached, now
                elif now - moved > IDLE_TIMEOUT:
                    raise KafkaTimeoutError(f"no record of {topic} came for {IDLE_TIMEOUT} s")
                if records and records[-1].offset >= end[partition]:
                    records = [record for record in records if record.offset < end[partition]]
                yield partition, records
