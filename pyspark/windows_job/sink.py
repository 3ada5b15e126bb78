"""The exactly-once sink: what a batch emits and a progress token, committed in one Kafka transaction.

Spark calls a sink at least once per batch: after a crash it repeats the last batch, with the same batch id and the
same input. The token says which batch was committed last, so a repeated one is skipped; and a batch that was not
committed left nothing that a reader of committed records (Spark, Druid) would see. A producer that starts with the
same transactional id fences an older one that still runs.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from threading import Thread

from kafka import KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka_batches import append, partition_for

from windows_job.coordinators import await_group, no_coordinator
from windows_job.settings import Settings
from windows_job.topics import Token, last_token

MAX_RECORD_BYTES = 4 * 1024 * 1024  # a rejected record of 1 MiB and its surroundings, as in schemas/topics.json
COORDINATOR_TIMEOUT = 60  # seconds to wait at the start until Kafka coordinates the offsets and transactions
TRANSACTION_TIMEOUT = 300  # seconds that a batch may take to be written; then the broker aborts it
# Seconds for the calls of a transaction. kafka-python 3.0.12 sets no limit, and can lose a request when the broker goes
# away: send_offsets_to_transaction() was seen to wait for ever. Java's client gives up after max.block.ms, a minute. A
# commit waits for the records, too, which fail after two minutes.
OFFSETS_LIMIT, COMMIT_LIMIT = 60, 180
BLOCK = 1000  # records that are handed over together
BUFFERED_CHARACTERS = 64 * 1024 * 1024  # kafka-python itself doesn't bound what it buffers


class ExactlyOnceSink:
    """Writes what each batch emits to Kafka once.

    `last_token` is the newest committed token, None where there is none. Raises KafkaError when the broker can't be
    reached within `timeout` seconds, lacks one of the topics, or can't commit what the job reads and writes.
    """

    def __init__(self, settings: Settings, topics: Iterable[str], timeout: int) -> None:
        kafka, self._progress_topic = settings.kafka, settings.kafka_progress_topic
        self._group = settings.kafka_group_id
        self._producer = KafkaProducer(
            **kafka.options(),
            bootstrap_timeout_ms=timeout * 1000,
            reconnect_backoff_max_ms=1000,
            allow_auto_create_topics=False,
            transactional_id=settings.transactional_id,
            compression_type="lz4",
            batch_size=512 * 1024,  # the broker flushes each batch to its disk: larger ones are fewer
            linger_ms=5,
            max_request_size=MAX_RECORD_BYTES,
            max_block_ms=COORDINATOR_TIMEOUT * 1000,
            transaction_timeout_ms=TRANSACTION_TIMEOUT * 1000,
        )
        self._partitions: dict[str, list[TopicPartition]] = {}
        for name in (*topics, self._progress_topic):
            numbers = sorted(self._producer.partitions_for(name) or ())
            self._partitions[name] = [TopicPartition(name, number) for number in numbers]
            if not self._partitions[name]:
                raise KafkaError(f"there is no topic {name}; kafka/create_topics.py creates it")
        await_group(kafka, self._group, COORDINATOR_TIMEOUT)
        # First fence a predecessor and end its open transaction, then read what was committed.
        try:
            self._producer.init_transactions()
        except KafkaTimeoutError:
            what = f"the transactions of {settings.transactional_id}"
            raise no_coordinator(kafka, what, "__transaction_state") from None
        self.last_token: Token | None = last_token(kafka, self._progress_topic)

    def is_committed(self, batch_id: int) -> bool:
        """Whether that batch was committed before."""
        return self.last_token is not None and batch_id <= self.last_token["batch_id"]

    def commit(self, records: Iterable[tuple[str, str, str]], token: Token) -> None:
        """Commit (topic, key, value) records together with the token of their batch, and its offsets to the group.

        Raises KafkaError.

        The token is read when all `records` are, so that they can be counted in it.
        """
        self._producer.begin_transaction()
        try:
            # For tools that show lag. The job itself goes on from the token: the group's offsets expire.
            within(OFFSETS_LIMIT, self._producer.send_offsets_to_transaction, offsets_of(token), self._group)
            block: defaultdict[TopicPartition, list[tuple[bytes, bytes]]] = defaultdict(list)
            buffered = 0
            for number, (topic, key, value) in enumerate(records, start=1):
                partitions, encoded_key = self._partitions[topic], key.encode()
                block[partitions[partition_for(encoded_key, len(partitions))]].append((encoded_key, value.encode()))
                buffered += len(value)
                if buffered > BUFFERED_CHARACTERS:
                    self._hand_over(block)
                    self._producer.flush()
                    buffered = 0
                elif number % BLOCK == 0:
                    self._hand_over(block)
            self._hand_over(block)
            self._producer.send(self._progress_topic, value=json.dumps(token).encode(), partition=0)
            within(COMMIT_LIMIT, self._producer.commit_transaction)
        except KafkaError:
            self.close()
            raise
        self.last_token = token

    def close(self) -> None:
        """Leave Kafka; what is not committed is aborted."""
        self._producer.close(timeout=1)

    def _hand_over(self, block: dict[TopicPartition, list[tuple[bytes, bytes]]]) -> None:
        for partition, records in block.items():
            append(self._producer, partition, records)
        block.clear()


def offsets_of(token: Token) -> dict[TopicPartition, OffsetAndMetadata]:
    """What a batch has read, as a consumer group commits it."""
    return {
        TopicPartition(topic, int(partition)): OffsetAndMetadata(offset, "", -1)
        for topic, ends in token["offsets"].items()
        for partition, offset in ends.items()
    }


def within(seconds: float, call: Callable[..., object], *arguments: object) -> None:
    """Make a call of a transaction. Raises what it raises, and KafkaTimeoutError when it takes longer."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call(*arguments)
        except BaseException as error:
            raised.append(error)

    thread = Thread(target=run, name="transaction", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise KafkaTimeoutError(f"Kafka has not completed a part of the transaction within {seconds:g} s")
    if raised:
        raise raised[0]
