"""The exactly-once way out: the windows of a batch and a progress token, committed in one Kafka transaction.

Spark calls a sink at least once per batch: after a crash it repeats the last batch, with the same batch id and the
same input. The token says which batch was committed last, so a repeated one is skipped; and a batch that was not
committed left nothing that a reader of committed records (Spark, Druid) would see. A producer that starts with the
same transactional id fences an older one that still runs.
"""

import json
from pathlib import Path
from typing import Any

from kafka.errors import KafkaError, KafkaTimeoutError
from pyspark.sql import DataFrame

from kafka import KafkaConsumer, KafkaProducer, TopicPartition


class CheckpointMismatch(Exception):
    """The output topic was written from another checkpoint than the one at hand."""


class ExactlyOnceSink:
    """Writes each batch of (key, value) rows to `topic` once; `write` is for foreachBatch.

    Raises KafkaError when the broker can't be reached within `timeout` seconds or has no such topics, and
    CheckpointMismatch when the last token is of another query than that of `checkpoint`: going on would emit every
    window a second time.
    """

    def __init__(self, bootstrap_servers: str, topic: str, progress_topic: str, checkpoint: Path, timeout: int) -> None:
        self._topic = topic
        self._progress_topic = progress_topic
        self._checkpoint = checkpoint
        self._producer = KafkaProducer(
            bootstrap_servers=bootstrap_servers,
            bootstrap_timeout_ms=timeout * 1000,
            reconnect_backoff_max_ms=1000,
            allow_auto_create_topics=False,
            transactional_id=f"{topic}-windows-job",
            compression_type="lz4",
            batch_size=128 * 1024,
            linger_ms=5,
        )
        for name in (topic, progress_topic):
            if not self._producer.partitions_for(name):
                raise KafkaError(f"there is no topic {name}; kafka/create_topics.py creates it")
        # First fence and finish whatever a predecessor left open, then read what was committed.
        self._producer.init_transactions()
        token = _last_token(bootstrap_servers, progress_topic)
        query_id = _query_id(checkpoint)
        if token and token["query_id"] != query_id:
            raise CheckpointMismatch(
                f"{topic} holds the windows of another checkpoint than the one in {checkpoint}, and they would all be"
                " emitted again. Put that checkpoint back, or remove all data together and start again:"
                " `make reset`, or `docker compose down --volumes`."
            )
        self.last_batch = token["batch_id"] if token else -1

    def write(self, windows: DataFrame, batch_id: int) -> None:
        """Commit the rows of one batch together with its token; does nothing for a batch that was committed before."""
        if batch_id <= self.last_batch:
            return
        rows = windows.collect()
        if not rows:  # nothing that could be doubled
            return
        token = {"query_id": _query_id(self._checkpoint), "batch_id": batch_id, "windows": len(rows)}
        self._producer.begin_transaction()
        try:
            for key, value in rows:
                self._producer.send(self._topic, key=key.encode(), value=value.encode())
            self._producer.send(self._progress_topic, key=self._topic.encode(), value=json.dumps(token).encode())
            self._producer.commit_transaction()
        except KafkaError:
            self._producer.close(timeout=1)  # the broker aborts what was begun
            raise
        self.last_batch = batch_id


def _query_id(checkpoint: Path) -> str | None:
    """The id that Spark gave the query whose checkpoint this is; None where there is none yet."""
    try:
        return str(json.loads((checkpoint / "metadata").read_text())["id"])
    except FileNotFoundError:
        return None


def _last_token(bootstrap_servers: str, topic: str) -> dict[str, Any] | None:
    """The newest committed progress token, None where there is none."""
    partition = TopicPartition(topic, 0)
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap_servers, isolation_level="read_committed", enable_auto_commit=False
    )
    try:
        consumer.assign([partition])
        end = consumer.end_offsets([partition])[partition]
        consumer.seek_to_beginning(partition)
        token: dict[str, Any] | None = None
        silent_polls = 0
        while consumer.position(partition) < end:
            records = consumer.poll(timeout_ms=1000).get(partition, [])
            silent_polls = 0 if records else silent_polls + 1
            if silent_polls == 30:
                raise KafkaTimeoutError(f"the broker gave no record of {topic} for 30 s")
            for record in records:
                token = json.loads(record.value)
        return token
    finally:
        consumer.close()
