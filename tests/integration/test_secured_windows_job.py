"""The windows job on a real Kafka with ACLs: its consumer group, and the sentence for each right or broker it lacks."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import TopicPartition
from kafka.admin import ResourceType
from kafka_client import explained
from pipeline import poll_until
from repository import ROOT, run_script
from secured_kafka import Broker
from secured_services import GROUP, TOPIC, TOPICS, TRANSACTION, Rights, listed, sentence, settings, with_topics
from windows_job.settings import Settings
from windows_job.sink import ExactlyOnceSink

pytestmark = pytest.mark.timeout(300)

GROUP_ID, TRANSACTIONAL_ID = "sensor-data-windows-job", "sensor-data-progress-windows-job"
# docs/operations.md, "Kafka ACLs"
JOB: Rights = {
    (TOPIC, TOPICS["raw"]): "READ",
    (TOPIC, TOPICS["control"]): "READ WRITE",
    (TOPIC, TOPICS["progress"]): "READ WRITE",
    **{(TOPIC, TOPICS[role]): "WRITE" for role in ("aggregated", "rejected", "late")},
    (TRANSACTION, TRANSACTIONAL_ID): "WRITE DESCRIBE",
    (GROUP, GROUP_ID): "READ",
}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with with_topics(tmp_path_factory.mktemp("secured-kafka")) as made:
        yield made


def commit(of: Settings, batch: int = 0) -> None:
    """What the job writes for a batch that has read 7 records of partition 0, and more than that."""
    topics = [TOPICS[role] for role in ("raw", "control", "aggregated", "rejected", "late")]
    sink = ExactlyOnceSink(of, topics, 10)
    token = {"query_id": "q", "batch_id": batch, "watermark": 0, "newest": 0, "totals": {}}
    offsets = {TOPICS["raw"]: {"0": 7, "1": 0}, TOPICS["control"]: {"0": 0}}
    records = [(TOPICS[role], "1", "{}") for role in ("aggregated", "rejected", "late")]
    try:
        sink.commit(records, token | {"offsets": offsets})
    finally:
        sink.close()


def committed(broker: Broker, group: str) -> dict[TopicPartition, int]:
    """The offsets of a group. Kafka shows them a moment after it has acknowledged the end of the transaction."""
    with broker.admin() as admin:
        found = poll_until(f"offsets of {group}", lambda: admin.list_group_offsets([group])[group], 20)
    return {partition: each.offset for partition, each in found.items()}


def test_the_group_has_the_offsets_of_the_windows_that_are_committed(broker: Broker) -> None:
    broker.add_user("job", *listed(JOB))
    commit(settings(broker, "job"))
    assert committed(broker, GROUP_ID) == {
        TopicPartition(TOPICS["raw"], 0): 7,
        TopicPartition(TOPICS["raw"], 1): 0,
        TopicPartition(TOPICS["control"], 0): 0,
    }
    broker.allow("job", (GROUP, "other", "READ"), (TRANSACTION, "other-id", "WRITE DESCRIBE"))
    commit(settings(broker, "job", KAFKA_GROUP_ID="other", KAFKA_TRANSACTIONAL_ID="other-id"))
    assert len(committed(broker, "other")) == 3


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ((TRANSACTION, TRANSACTIONAL_ID), "KAFKA_TRANSACTIONAL_ID (or kafka_transactional_id)"),
        ((GROUP, GROUP_ID), "KAFKA_GROUP_ID (or kafka_group_id; of the generator KAFKA_GENERATOR_GROUP_ID)"),
        *(((TOPIC, name), f"use the topic {name}: ") for kind, name in JOB if kind is TOPIC),
    ],
)
def test_a_job_that_lacks_a_right(broker: Broker, missing: tuple[ResourceType, str], words: str) -> None:
    name = f"job-without-{missing[1]}"
    broker.add_user(name, *listed(JOB, without=missing))
    of = settings(broker, name)
    with pytest.raises(Exception) as error:
        commit(of)
    said = explained(of.kafka, error.value)
    assert said and words in said, error.value


@pytest.mark.parametrize(
    ("configuration", "words"),
    [
        (
            "offsets.topic.replication.factor=3",
            f"the offsets of the group {GROUP_ID}: it can't use its topic __consumer_offsets.",
        ),
        (
            "transaction.state.log.replication.factor=3",
            f"the transactions of {TRANSACTIONAL_ID}: it can't use its topic __transaction_state.",
        ),
    ],
)
def test_more_copies_of_kafkas_own_topics_than_brokers(tmp_path: Path, configuration: str, words: str) -> None:
    """The job ends with a sentence, where kafka-python would wait for ever. It needs no right besides its own."""
    # The job as a program, since it must also end, with a shorter limit.
    job = (
        f"import runpy, sys; sys.path.append({str(ROOT / 'pyspark')!r})\n"
        "import windows_job.sink; windows_job.sink.COORDINATOR_TIMEOUT = 2\n"
        f"runpy.run_path({str(ROOT / 'pyspark/pyspark.py')!r}, run_name='__main__')\n"
    )
    with with_topics(tmp_path, configuration) as broker:
        broker.add_user("job", *listed(JOB))
        environment = {
            "PATH": os.environ["PATH"],
            "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1",
            "KAFKA_BOOTSTRAP_SERVERS": broker.kafka.address(),
            "KAFKA_CLIENT_PROPERTIES": broker.kafka.properties("job"),
            "CHECKPOINT_LOCATION": str(tmp_path / "checkpoint"),
            "WINDOWS_JOB_STATE_FILE": str(tmp_path / "job.json"),
        }
        said = sentence(run_script([sys.executable, "-c", job], environment))
    assert said.startswith(f"Kafka at {broker.kafka.address()} does not coordinate {words}")
    assert configuration.partition("=")[0] in said
    assert "the number of its brokers, which is 1: start more brokers, or lower" in said
