"""The exactly-once way out: what a batch emits and a progress token, committed in one Kafka transaction.

Spark calls a sink at least once per batch: after a crash it repeats the last batch, with the same batch id and the
same input. The token says which batch was committed last, so a repeated one is skipped; and a batch that was not
committed left nothing that a reader of committed records (Spark, Druid) would see. A producer that starts with the
same transactional id fences an older one that still runs.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.partitioner import murmur2

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from batch import append

Token = dict[str, Any]

MAX_RECORD_BYTES = 4 * 1024 * 1024  # a rejected record of 1 MiB, and what is written around it; see create_topics.py

TRANSACTION_TIMEOUT = 300  # seconds that a batch may take to be written; then the broker aborts it
BLOCK = 1000  # records that are handed over together
BUFFERED_CHARACTERS = 64 * 1024 * 1024  # kafka-python itself has no bound on what it buffers


class DoesNotFit(Exception):
    """Kafka's log and Spark's checkpoint don't belong together."""


class ExactlyOnceSink:
    """Writes what each batch emits to Kafka once.

    `last_token` is the newest committed token, None where there is none. Raises KafkaError when the broker can't be
    reached within `timeout` seconds or lacks one of the topics.
    """

    def __init__(self, bootstrap_servers: str, topics: Iterable[str], progress_topic: str, timeout: int) -> None:
        self._progress_topic = progress_topic
        self._producer = KafkaProducer(
            bootstrap_servers=bootstrap_servers,
            bootstrap_timeout_ms=timeout * 1000,
            reconnect_backoff_max_ms=1000,
            allow_auto_create_topics=False,
            transactional_id=f"{progress_topic}-windows-job",
            compression_type="lz4",
            batch_size=128 * 1024,
            linger_ms=5,
            max_request_size=MAX_RECORD_BYTES,
            transaction_timeout_ms=TRANSACTION_TIMEOUT * 1000,
        )
        self._partitions: dict[str, list[TopicPartition]] = {}
        for name in (*topics, progress_topic):
            numbers = sorted(self._producer.partitions_for(name) or ())
            self._partitions[name] = [TopicPartition(name, number) for number in numbers]
            if not self._partitions[name]:
                raise KafkaError(f"there is no topic {name}; kafka/create_topics.py creates it")
        # First fence and finish whatever a predecessor left open, then read what was committed.
        self._producer.init_transactions()
        newest = last_record(bootstrap_servers, TopicPartition(progress_topic, 0))
        self.last_token: Token | None = json.loads(newest) if newest else None

    def has(self, batch_id: int) -> bool:
        """Whether that batch was committed before."""
        return self.last_token is not None and batch_id <= self.last_token["batch_id"]

    def commit(self, records: Iterable[tuple[str, str, str]], token: Token) -> None:
        """Commit (topic, key, value) records together with the token of their batch."""
        self._producer.begin_transaction()
        try:
            block: defaultdict[TopicPartition, list[tuple[bytes, bytes]]] = defaultdict(list)
            buffered = 0
            for number, (topic, key, value) in enumerate(records, start=1):
                partitions = self._partitions[topic]
                block[partitions[_hash(key) % len(partitions)]].append((key.encode(), value.encode()))
                buffered += len(value)
                if buffered > BUFFERED_CHARACTERS:
                    self._hand_over(block)
                    self._producer.flush()
                    buffered = 0
                elif number % BLOCK == 0:
                    self._hand_over(block)
            self._hand_over(block)
            self._producer.send(self._progress_topic, value=json.dumps(token).encode())
            self._producer.commit_transaction()
        except KafkaError:
            self._producer.close(timeout=1)  # the broker aborts what was begun
            raise
        self.last_token = token

    def _hand_over(self, block: dict[TopicPartition, list[tuple[bytes, bytes]]]) -> None:
        for partition, records in block.items():
            append(self._producer, partition, records)
        block.clear()


@lru_cache(maxsize=200_000)
def _hash(key: str) -> int:
    """What Kafka's clients choose a partition by; kept, as it is computed slowly and the keys stay the same."""
    return int(murmur2(key.encode())) & 0x7FFFFFFF


def check_fit(token: Token | None, query_id: str | None, done: int, ends: dict[str, dict[str, int]]) -> None:
    """Raises DoesNotFit unless Kafka's last token and Spark's checkpoint tell of the same query at the same point.

    `query_id` and `done` are the checkpoint's query and its last batch that is done (None and -1 in a new one), `ends`
    where the topics end: topic -> partition -> offset. Going on would emit every window a second time, or leave some
    out.
    """
    if token is None and done < 0:
        return
    if token is None:
        wrong = "The job's checkpoint is of a Kafka log that is gone: nothing was ever written to this one from it"
    elif query_id != token["query_id"]:
        wrong = "Kafka holds the windows of another checkpoint than the job's, and they would all be emitted again"
    elif not done <= token["batch_id"] <= done + 1:
        older = "Kafka's log" if token["batch_id"] < done else "The job's checkpoint"
        wrong = f"{older} is the older one: Kafka's last batch is {token['batch_id']}, the checkpoint's is {done}"
    elif beyond := [
        topic
        for topic, offsets in token["offsets"].items()
        if any(ends.get(topic, {}).get(partition, 0) < offset for partition, offset in offsets.items())
    ]:
        wrong = f"The topic {beyond[0]} ends before what the job has read of it: it was removed and made anew"
    else:
        return
    raise DoesNotFit(
        f"{wrong}. Put back what was removed, or remove all data together and start again:"
        " `make reset`, or `docker compose down --volumes`."
    )


def last_record(bootstrap_servers: str, partition: TopicPartition) -> bytes | None:
    """The value of the newest committed record of a partition, None where there is none."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap_servers, isolation_level="read_committed", enable_auto_commit=False
    )
    try:
        consumer.assign([partition])
        first, end = consumer.beginning_offsets([partition])[partition], consumer.end_offsets([partition])[partition]
        # The end is held by the marks of transactions, some of them perhaps aborted.
        tail = 16
        while True:
            start = max(first, end - tail)
            consumer.seek(partition, start)
            newest = _newest(consumer, partition, end)
            if newest is not None or start == first:
                return newest
            tail *= 8
    finally:
        consumer.close()


def _newest(consumer: KafkaConsumer, partition: TopicPartition, end: int) -> bytes | None:
    newest: bytes | None = None
    silent_polls = 0
    while consumer.position(partition) < end:
        records = consumer.poll(timeout_ms=1000).get(partition, [])
        silent_polls = 0 if records else silent_polls + 1
        if silent_polls == 30:
            raise KafkaTimeoutError(f"the broker gave no record of {partition.topic} for 30 s")
        for record in records:
            newest = record.value
    return newest


def end_offsets(bootstrap_servers: str, topic: str) -> dict[str, int]:
    """Where each partition of a topic ends, by partition."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
        return {str(partition.partition): end for partition, end in consumer.end_offsets(partitions).items()}
    finally:
        consumer.close()
