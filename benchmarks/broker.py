"""Kafka brokers of the benchmark's own: the stack's jars and configuration, in another folder and on other ports."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka_client import KafkaClient
from local_stack import servers
from local_stack.env_file import env_file
from local_stack.errors import StackError, Unhealthy
from local_stack.kafka import Kafka
from local_stack.paths import ROOT, STACK
from local_stack.service import Service
from service import contract

if (ROOT / ".local/bench").resolve() != STACK:
    raise ImportError("bench.py must be the program: it sets STACK_DIR, so that no data of a user's stack is removed")

ENV = env_file(os.environ)
PORTS = {name: str(25_000 + int(port) % 1_000) for name, port in ENV.items() if name.endswith("_PORT")}
SERVERS = f"127.0.0.1:{PORTS['KAFKA_PORT']}"
START_LIMIT = 60  # seconds
TOPICS = contract.topics()
PARTITIONS = TOPICS["raw"].partitions
# For each partition of a topic, the ids of the brokers with its copies. Broker 1 is the one of SERVERS.
Layout = Sequence[Sequence[int]]


@contextmanager
def broker() -> Iterator[None]:
    """Run the broker, with an empty log. Raises StackError when it doesn't start, or when its port is in use."""
    with running(servers.kafka(ENV | PORTS, TOPICS["raw"].name)):
        yield


@contextmanager
def running(*services: Service) -> Iterator[list[int]]:
    """Run brokers, with empty logs, and yield their process ids. Raises StackError as broker() does."""
    for service in services:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port := client_port(service))) == 0:
                names = " and ".join(service.ports)
                raise StackError(f"127.0.0.1:{port} is in use: stop that server, or set {names}.")
        for folder in service.data:
            shutil.rmtree(folder, ignore_errors=True)
        service.prepare()
        service.run_setup()
    with ExitStack() as stack:
        # All of them before the first is ready: it waits for the others.
        processes = [stack.enter_context(process(service)) for service in services]
        for service, started in zip(services, processes, strict=True):
            wait_until_ready(service, started)
        yield [started.pid for started in processes]


def client_port(service: Service) -> int:
    """The port of a broker for its clients, which its row names first."""
    return next(iter(service.ports.values()))


@contextmanager
def process(service: Service) -> Iterator[subprocess.Popen[bytes]]:
    """Run a broker that is prepared."""
    with (STACK / f"{service.name}.log").open("wb") as log:
        started = subprocess.Popen(service.command, cwd=service.folder, stdout=log, stderr=log)
    try:
        yield started
    finally:
        started.kill()  # its data is not needed, and an orderly end would wait for brokers that have ended
        started.wait()


def wait_until_ready(service: Service, started: subprocess.Popen[bytes]) -> None:
    address = f"127.0.0.1:{client_port(service)}"
    deadline = time.monotonic() + START_LIMIT
    while started.poll() is None and time.monotonic() < deadline:
        try:
            Kafka(KafkaClient(address)).topics()
            return
        except Unhealthy:
            time.sleep(0.5)
    log = STACK / f"{service.name}.log"
    raise StackError(f"Kafka did not start in {START_LIMIT} s: see {log}. Is {address} free?")


def create_topic(name: str, role: str, partitions: int = PARTITIONS, layout: Layout | None = None) -> str:
    """Create a topic with the settings of a role in schemas/topics.json, for large records too; returns its name.

    With a layout, the number of partitions is that of the layout.
    """
    layout = layout or [[1]] * partitions
    settings = {
        "assignments": dict(enumerate(layout)),
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
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        return sum(consumer.end_offsets(partitions).values())
    finally:
        consumer.close()
