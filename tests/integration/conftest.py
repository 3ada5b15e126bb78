"""One Spark for all integration tests, which are skipped where there is no Java; a broker of a test's own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from local_stack.java import java
from local_stack.paths import JARS
from processes import Broker, Start, free_ports, kill
from pyspark.sql import SparkSession
from repository import job_settings
from stream import Stream
from windows_job.spark import spark_session

BROKER = """
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
log.dirs={folder}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=2
group.initial.rebalance.delay.ms=0
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
"""


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    if not shutil.which("java"):
        pytest.skip("Spark needs Java 17 or 21, and there is no java on the PATH")
    with pytest.MonkeyPatch.context() as patch:
        # Each query runs once or a few times: compiling it well takes longer than it saves.
        patch.setenv("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")
        started = spark_session(job_settings())
    yield started
    started.stop()


@pytest.fixture
def stream(spark: SparkSession, tmp_path: Path) -> Stream:
    return Stream(spark, tmp_path)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a program; its output is in a file of the given name. All are killed at the end."""
    with ExitStack() as running:

        def start(name: str, *command: str, **environment: str) -> "subprocess.Popen[bytes]":
            with (tmp_path / f"{name}.log").open("ab") as output:
                # Each process runs briefly: compiling it well takes longer than it saves.
                environment = {**os.environ, "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1", **environment}
                process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=output, stderr=output)
            running.callback(kill, process)
            return process

        yield start


@pytest.fixture
def broker(start: Start, tmp_path: Path) -> Broker:
    """A broker that runs."""
    if not (JARS / "kafka.installed").exists():
        pytest.skip("there is no Kafka: `make install` fetches it")
    port, controller = free_ports(2)
    configuration, log = tmp_path / "kafka.properties", tmp_path / "kafka"
    configuration.write_text(BROKER.format(port=port, controller=controller, folder=log))
    command = [java(), "-Xmx256m", "-cp", f"{JARS / 'kafka'}/*"]
    tool = ["kafka.tools.StorageTool", "format", "--cluster-id", "MkU3OEVBNTcwNTJENDM2Qg", "--config"]
    assert start("format", *command, *tool, str(configuration)).wait(timeout=60) == 0
    made = Broker(f"127.0.0.1:{port}", log, partial(start, "kafka", *command, "kafka.Kafka", str(configuration)))
    made.start()
    return made


@pytest.fixture
def kafka(broker: Broker) -> str:
    """The address of a broker that runs."""
    return broker.address
