"""A Kafka broker of the benchmark's own: the stack's jars and configuration, another folder, other ports."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".local/bench"
PORT = "25092"
os.environ |= {"STACK_DIR": str(FOLDER), "KAFKA_PORT": PORT, "KAFKA_CONTROLLER_PORT": "25093"}
sys.path[:0] = [str(ROOT / "local"), str(ROOT / "sensor-data-generator")]

from kafka.errors import KafkaError  # noqa: E402

from kafka import KafkaAdminClient  # noqa: E402

from services import format_kafka_storage, services  # noqa: E402

SERVERS = f"127.0.0.1:{PORT}"
START_LIMIT = 60  # seconds


@contextmanager
def broker() -> Iterator[subprocess.Popen[bytes]]:
    """The running broker, with an empty log."""
    service = services()["kafka0"]
    data = FOLDER / "data/kafka"
    subprocess.run(["rm", "-rf", str(data)], check=True)
    data.mkdir(parents=True)
    with (FOLDER / "kafka.log").open("wb") as log:
        subprocess.run(format_kafka_storage(), check=True, stdout=log, stderr=log)
        process = subprocess.Popen(service.command, cwd=service.folder, stdout=log, stderr=log)
        try:
            wait_until_ready(process)
            yield process
        finally:
            process.terminate()
            process.wait(timeout=60)


def wait_until_ready(process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with KafkaAdminClient(bootstrap_servers=SERVERS, bootstrap_timeout_ms=2000) as admin:
                admin.describe_topics()
            return
        except KafkaError:
            time.sleep(0.5)
    sys.exit(f"Kafka did not start in {START_LIMIT} s: see {FOLDER / 'kafka.log'}. Is port {PORT} free?")


def create_topic(name: str, partitions: int = 2) -> str:
    """Create a topic as kafka/create_topics.py does; returns its name."""
    settings = {
        "num_partitions": partitions,
        "replication_factor": 1,
        "configs": {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(4 * 2**20)},
    }
    with KafkaAdminClient(bootstrap_servers=SERVERS) as admin:
        admin.create_topics({name: settings}, wait_for_metadata=True)
    return name


def delete_topics(*names: str) -> None:
    with KafkaAdminClient(bootstrap_servers=SERVERS) as admin:
        admin.delete_topics(list(names))
