"""The sink alone, on topics of its own: a repeated batch, one that a crash left uncommitted, and a fenced producer."""

from typing import Any

import pytest
import recompute
from kafka import KafkaAdminClient
from pipeline import Pipeline
from windows_job.sink import ExactlyOnceSink

pytestmark = pytest.mark.timeout(900)


def token(batch_id: int) -> dict[str, Any]:
    return {"query_id": "q", "batch_id": batch_id, "offsets": {}, "watermark": 0, "newest": 0, "totals": {}}


def test_a_batch_is_written_once_however_often_spark_repeats_it(stack: Pipeline) -> None:
    topic, progress = "sink-test", "sink-test-progress"
    with KafkaAdminClient(bootstrap_servers=stack.kafka) as admin:
        once = {"num_partitions": 1, "replication_factor": 1}
        admin.create_topics({topic: once, progress: once}, wait_for_metadata=True)

    def write(sink: ExactlyOnceSink, batch_id: int, *values: str) -> None:
        if not sink.is_committed(batch_id):
            sink.commit([(topic, "1", f'"{value}"') for value in values], token(batch_id))

    sinks = []

    def new_sink() -> ExactlyOnceSink:
        sinks.append(ExactlyOnceSink(stack.kafka, [topic], progress, 30))
        return sinks[-1]

    try:
        first = new_sink()
        write(first, 7, "a", "b")
        write(first, 7, "a", "b")
        # A crash in the middle: records are sent, nothing is committed.
        first._producer.begin_transaction()
        first._producer.send(topic, key=b"1", value=b'"uncommitted"').get(timeout=30)
        second = new_sink()
        assert second.last_token == token(7)
        write(second, 7, "a", "b")
        write(second, 8, "c")
        with pytest.raises(Exception, match="(?i)fenced|epoch|invalid"):  # the first one can't write any more
            first._producer.commit_transaction()
        assert recompute.records(stack.kafka, topic) == ["a", "b", "c"]
    finally:
        for sink in sinks:
            sink.close()  # or its thread would keep a core busy once the topics are gone
        with KafkaAdminClient(bootstrap_servers=stack.kafka) as admin:
            admin.delete_topics([topic, progress])
