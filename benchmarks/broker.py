"""A Kafka broker of the benchmark's own: the stack's jars and configuration, in another folder and on other ports."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka_client import KafkaClient
from local_stack import servers
from local_stack.env_file import env_file
from local_stack.errors import StackError, Unhealthy
from local_stack.kafka import Kafka
from local_stack.paths import ROOT, STACK
from service import contract

if (ROOT / ".local/bench").resolve() != STACK:
    raise ImportError("bench.py must be the program: it sets STACK_DIR, so that no data of a user's stack is removed")

ENV = env_file(os.environ)
PORTS = {name: str(25_000 + int(port) % 1_000) for name, port in ENV.items() if name.endswith("_PORT")}
SERVERS = f"127.0.0.1:{PORTS['KAFKA_PORT']}"
START_LIMIT = 60  # seconds
TOPICS = contract.topics()
PARTITIONS = TOPICS["raw"].partitions


@contextmanager
def broker() -> Iterator[None]:
    """Run the broker, with an empty log. Raises StackError when it doesn't start, or when its port is in use."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", int(PORTS["KAFKA_PORT"]))) == 0:
            raise StackError(f"{SERVERS} is in use: stop that server, or set KAFKA_PORT and KAFKA_CONTROLLER_PORT.")
    service = servers.kafka(ENV | PORTS, TOPICS["raw"].name)
    for folder in service.data:
        shutil.rmtree(folder, ignore_errors=True)
    service.prepare()
    service.run_setup()
    log = STACK / "kafka.log"
    with log.open("wb") as file:
        process = subprocess.Popen(service.command, cwd=service.folder, stdout=file, stderr=file)
    try:
        wait_until_ready(process)
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def wait_until_ready(process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        try:
            Kafka(KafkaClient(SERVERS)).topics()
            return
        except Unhealthy:
            time.sleep(0.5)
    raise StackError(f"Kafka did not start in {START_LIMIT} s: see {STACK / 'kafka.log'}. Is {SERVERS} free?")


def create_topic(name: str, role: str, partitions: int = PARTITIONS) -> str:
    """Create a topic with the settings of a role in schemas/topics.json, for large records too; returns its name."""
    settings = {
        "num_partitions": partitions,
        "replication_factor": 1,
        "configs": {**TOPICS["rejected"].config, **TOPICS[role].config},
    }
    with KafkaAdminClient(bootstrap_servers=SERVERS) as admin:
        admin.create_topics({name: settings}, wait_for_metadata=True)
    return name


def delete_topics(*names: str) -> None:
    with KafkaAdminClient(bootstrap_servers=SERVERS) as admin:
        admin.delete_topics(list(names))


def partitions_of(topic: str) -> list[TopicPartition]:
    """The partitions of a topic that create_topic() made with the default number of them."""
    return [TopicPartition(topic, number) for number in range(PARTITIONS)]


def records_in(topic: str) -> int:
    """The sum of the topic's end offsets: its records and, where there are transactions, their markers."""
    consumer = KafkaConsumer(bootstrap_servers=SERVERS)
    try:
        return sum(consumer.end_offsets(partitions_of(topic)).values())
    finally:
        consumer.close()
