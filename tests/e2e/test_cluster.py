"""`make up CLUSTER=1`: brokers, a Spark worker and an executor are killed under load; nothing is lost or doubled."""

import time
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest
from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from pipeline import FOLDER, PORTS, RAW, Pipeline, assert_every_window_is_right, new_pipeline, poll_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
BROKERS = {"kafka0": "KAFKA_PORT", "kafka1": "KAFKA1_PORT", "kafka2": "KAFKA2_PORT"}
EXECUTOR = "org.apache.spark.executor.CoarseGrainedExecutorBackend"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Pipeline]:
    """A cluster, in a folder of its own, whose generator sends."""
    made = new_pipeline(FOLDER.with_name(f"{FOLDER.name}-cluster"), PORTS)
    made.kafka = ",".join(f"127.0.0.1:{PORTS[port]}" for port in BROKERS.values())
    made.environment |= {"CLUSTER": "1", "NUM_ENTITIES": "500", "SCRIPT_DURATION": "36000"}
    made.make("reset")
    try:
        made.started("up")
        yield made
    finally:
        made.make("reset")


def executors(cluster: Pipeline, worker: str) -> list[psutil.Process]:
    """The executors that a worker has started."""
    with suppress(psutil.NoSuchProcess, KeyError):  # they end, or the worker does
        children = psutil.Process(cluster.processes()[worker]).children(recursive=True)
        return [child for child in children if EXECUTOR in child.cmdline()]
    return []


def in_sync(cluster: Pipeline) -> bool:
    """Whether every partition of every topic has three copies that are in sync."""
    with suppress(KafkaError), KafkaAdminClient(bootstrap_servers=cluster.kafka) as admin:
        partitions = [each for topic in admin.describe_topics() for each in topic["partitions"]]
        assert all(len(each["replica_nodes"]) == 3 for each in partitions)
        return all(len(each["isr_nodes"]) == 3 for each in partitions)
    return False


def is_whole(cluster: Pipeline) -> bool:
    """Everything is healthy, and each worker has its executor."""
    return in_sync(cluster) and cluster.is_healthy() and all(executors(cluster, f"spark-worker{n}") for n in (0, 1))


def read(cluster: Pipeline) -> int:
    """The records that the windows job has read."""
    return int((cluster.job().get("totals") or {}).get("records", 0))


def kill_under_load(cluster: Pipeline, what: str, process: psutil.Process) -> None:
    """Kill a process, and wait until readings are sent and read again, and another process has taken its place."""
    before = read(cluster)
    poll_until(f"load before {what} is killed", lambda: read(cluster) > before + 1000, 60)
    process.kill()
    acknowledged = cluster.acknowledged()
    poll_until(f"readings without {what}", lambda: cluster.acknowledged() > acknowledged + 500, 60)
    rows = cluster.rows(RAW)
    poll_until("more rows in Druid", lambda: cluster.rows(RAW) > rows, 60)
    poll_until(f"the cluster whole again after {what}", lambda: not process.is_running() and is_whole(cluster), 180)


def test_nothing_is_lost_or_doubled_when_brokers_a_worker_and_an_executor_are_killed(cluster: Pipeline) -> None:
    poll_until("all copies and executors", lambda: is_whole(cluster), 120)
    kill_under_load(cluster, "a broker", psutil.Process(cluster.processes()["kafka1"]))
    kill_under_load(cluster, "a worker", psutil.Process(cluster.processes()["spark-worker0"]))
    kill_under_load(cluster, "an executor", executors(cluster, "spark-worker1")[0])

    two = ["kafka0", "kafka2"]
    for name in two:
        cluster.manager().stopProcess(name, False)  # or it would be started again at once
        psutil.Process(cluster.processes()[name]).kill()
    time.sleep(5)
    acknowledged = cluster.acknowledged()
    time.sleep(5)
    assert cluster.acknowledged() == acknowledged, "one of three brokers is too few to acknowledge a reading"
    assert cluster.rows(RAW) > 0  # Druid answers from what it has
    for name in two:
        cluster.manager().startProcess(name, False)
    poll_until("the cluster whole again", lambda: is_whole(cluster), 180)
    poll_until("readings again", lambda: cluster.acknowledged() > acknowledged + 500, 60)

    generator = psutil.Process(cluster.processes()["sensorgenerator"])
    generator.terminate()
    poll_until("the generator's end", lambda: not generator.is_running(), 60)
    assert (cluster.generator()["state"], cluster.generator()["run"]["failed"]) == ("stopped", 0)
    figures = cluster.closed(seconds=180, wait=240)
    assert figures["records"] >= cluster.acknowledged()
    assert figures["rejected"] == figures["gaps"] == figures["duplicates"] == 0
    assert cluster.rows(RAW) == figures["records"]
    assert_every_window_is_right(cluster.kafka, cluster.router)


def test_the_data_of_three_brokers_is_not_given_to_one(cluster: Pipeline) -> None:
    done = cluster.make("up", CLUSTER="0")
    assert done.returncode != 0
    assert f"The data in {cluster.folder} is of a Kafka with three brokers: set CLUSTER=1, or remove all" in done.stdout
    assert "kafka2" in cluster.processes()
    assert cluster.make("doctor").returncode == 0
    assert "spark-worker1" in cluster.started("status")
    cluster.started("reset")
    assert not (cluster.folder / "data").exists()
