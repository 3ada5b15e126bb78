"""Case producer: how fast readings are made and sent with `sensor_interval = 0`, ours against others."""

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from kafka import KafkaConsumer, TopicPartition

from broker import ROOT, SERVERS, create_topic, delete_topics
from install import install_jars
from measure import Wrong
from services import java
from settings import JARS, image_version

TOOLS = JARS / "kafka-tools"
SECONDS = 10
RECORDS = 2_000_000  # of the one that is told a number, not a time
RECORD_BYTES = 128
_number = itertools.count(1)


class Sent(NamedTuple):
    """One run; the process's start is not in `cpu`."""

    records: int
    seconds: float
    cpu: float
    peak: float  # MiB


def run(command: list[str], **environment: str) -> tuple[str, float, float]:
    """What it said, its CPU seconds and its largest memory (MiB; of the largest where it has children)."""
    env = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": SERVERS, "SENSOR_INTERVAL": "0", **environment}
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Wrong(f"{command} ended with {process.returncode}: {said[-2000:]}")
    return said, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def records_in(topic: str) -> int:
    consumer = KafkaConsumer(bootstrap_servers=SERVERS)
    ends = consumer.end_offsets([TopicPartition(topic, number) for number in range(2)])
    consumer.close()
    return sum(ends.values())


def script(path: str, **environment: str) -> Sent:
    """A Python producer that sends for SCRIPT_DURATION seconds and says how much."""
    command, cpu, peak, acknowledged = [sys.executable, str(ROOT / path)], [], 0.0, 0
    for seconds in (0, SECONDS):
        topic = create_topic(f"sent-{next(_number)}")
        said, used, peak = run(command, KAFKA_TOPIC=topic, SCRIPT_DURATION=str(seconds), **environment)
        cpu.append(used)
        [(sent, acknowledged_, failed)] = re.findall(r"(\d+) sent, (\d+) acknowledged, (\d+) failed$", said, re.M)[-1:]
        acknowledged = int(acknowledged_)
        if int(failed) or int(sent) != acknowledged or records_in(topic) != acknowledged:
            raise Wrong(f"{path}: {sent} sent, {acknowledged} acknowledged, {records_in(topic)} in the topic")
        delete_topics(topic)
    return Sent(acknowledged, SECONDS, cpu[1] - cpu[0], peak)


def performance() -> Sent:
    """Kafka's ProducerPerformance: random bytes of a record's length, in Java."""
    if not TOOLS.exists():
        pom = ROOT / "benchmarks/tools.pom.xml"
        install_jars("Kafka's tools", pom, TOOLS, f"-Dkafka.version={image_version('KAFKA_IMAGE')}")
    tool = [java(), "-cp", f"{TOOLS}/*", "org.apache.kafka.tools.ProducerPerformance", "--throughput", "-1"]
    given = ["acks=all", "enable.idempotence=true", "compression.type=lz4", "linger.ms=20", "batch.size=131072"]
    properties = ["--producer-props", f"bootstrap.servers={SERVERS}", *given]
    cpu, peak, rate = [], 0.0, 0.0
    for number in (1, RECORDS):
        topic = create_topic(f"sent-{next(_number)}")
        sizes = ["--topic", topic, "--num-records", str(number), "--record-size", str(RECORD_BYTES)]
        said, used, peak = run([*tool, *sizes, *properties])
        cpu.append(used)
        rate = float(re.findall(r"([\d.]+) records/sec", said)[-1])
        if records_in(topic) != number:
            raise Wrong(f"ProducerPerformance: {number} sent, {records_in(topic)} in the topic")
        delete_topics(topic)
    return Sent(RECORDS, RECORDS / rate, cpu[1] - cpu[0], peak)


OURS = "sensor-data-generator/producer.py"
CONTENDERS: dict[str, Callable[[], Sent]] = {
    "ours": partial(script, OURS),
    "ours, two processes": partial(script, OURS, NUM_PROCESSES="2"),
    "the original's way": partial(script, "benchmarks/original_producer.py"),
    "confluent-kafka": partial(script, "benchmarks/confluent_producer.py"),
    "ProducerPerformance": performance,
}
