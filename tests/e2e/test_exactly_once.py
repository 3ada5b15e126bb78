"""The sink alone, on topics of its own: a repeated batch, one that a crash left uncommitted, and a fenced producer."""

from typing import Any

import pytest
import recompute
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from pipeline import RAW, Pipeline
from repository import job_settings
from service import contract
from service.settings import checked
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

    given = {"KAFKA_BOOTSTRAP_SERVERS": stack.kafka, "KAFKA_PROGRESS_TOPIC": progress}
    settings = checked(job_settings(), given)
    sinks = []

    def new_sink() -> ExactlyOnceSink:
        sinks.append(ExactlyOnceSink(settings, [topic], 30))
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


def test_kafka_flushes_each_append_to_the_topics_that_a_transaction_consists_of(stack: Pipeline) -> None:
    names = [*(topic.name for topic in contract.topics().values()), "__transaction_state"]
    with KafkaAdminClient(bootstrap_servers=stack.kafka) as admin:
        topics = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        found = admin.describe_configs(topics, config_filter="all")["topic"]
    interval = {name: int(settings["flush.messages"]["value"]) for name, settings in found.items()}
    assert interval.pop(RAW) == 2**63 - 1
    assert interval == {name: 1 for name in names if name != RAW}
