"""Case producer: how fast readings are made and sent with `sensor_interval = 0`, ours against others."""

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import measure
from broker import SERVERS, Layout, create_topic, delete_topics, records_in
from install import install_jars
from local_stack.env_file import image_version
from local_stack.java import java
from local_stack.paths import JARS, ROOT, STACK
from measure import WrongResult
from service import state

TOOLS = JARS / "kafka-tools"
STATE_FILE = STACK / "generator.json"
SECONDS = 10
VEHICLES = 200  # of each contender, whatever the default of producer.py is
RECORDS = 2_000_000  # of ProducerPerformance, which takes a number of records and not a time
RECORD_BYTES = 128
_number = itertools.count(1)


class Sent(NamedTuple):
    """The figures of one run. `cpu` is without the start of the process."""

    records: int
    seconds: float
    cpu: float
    peak: float  # MiB
    others_cpu: float = 0  # of the processes that were measured besides


def run(command: list[str], **environment: str) -> tuple[str, float, float]:
    """The program's output, its CPU seconds and its largest memory (MiB; of the largest of its processes).

    Raises WrongResult when it fails.
    """
    load = {"NUM_ENTITIES": str(VEHICLES), "SENSOR_INTERVAL": "0", "NUM_PROCESSES": "1"}
    env = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": SERVERS, **load, **environment}
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout
    output = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise WrongResult(f"{command} ended with {process.returncode}: {output[-2000:]}")
    return output, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def script(path: str, layout: Layout | None = None, others: Sequence[int] = (), **environment: str) -> Sent:
    """Run a Python producer that sends for SCRIPT_DURATION seconds and writes its counts to GENERATOR_STATE_FILE.

    `layout` is that of its topic, `others` are processes to be measured besides.
    """
    command, cpu, theirs, peak, acknowledged = [sys.executable, str(ROOT / path)], [], [], 0.0, 0
    for seconds in (0, SECONDS):  # the first run takes what a start takes
        number = next(_number)
        topic, runs = create_topic(f"sent-{number}", "raw", layout=layout), create_topic(f"runs-{number}", "runs", 1)
        STATE_FILE.unlink(missing_ok=True)
        before = measure.cpu(others)
        _, used, peak = run(
            command,
            KAFKA_RAW_TOPIC=topic,
            KAFKA_RUNS_TOPIC=runs,
            SCRIPT_DURATION=str(seconds),
            GENERATOR_STATE_FILE=str(STATE_FILE),
            **environment,
        )
        cpu.append(used)
        theirs.append(measure.cpu(others) - before)
        counts, there = state.read(STATE_FILE)["run"], records_in(topic)
        acknowledged = counts["acknowledged"]
        if counts["failed"] or not counts["sent"] == acknowledged == there:
            raise WrongResult(f"{path}: the topic has {there} records, and the state file {counts}")
        delete_topics(topic, runs)
    return Sent(acknowledged, SECONDS, cpu[1] - cpu[0], peak, theirs[1] - theirs[0])


def performance() -> Sent:
    """Run Kafka's ProducerPerformance: random bytes of a record's length, in Java."""
    if not TOOLS.exists():
        pom, version = ROOT / "benchmarks/tools.pom.xml", image_version("KAFKA_IMAGE", os.environ)
        install_jars("Kafka's tools", pom, TOOLS, f"-Dkafka.version={version}")
    tool = [java(), "-cp", f"{TOOLS}/*", "org.apache.kafka.tools.ProducerPerformance", "--throughput", "-1"]
    settings = ["acks=all", "enable.idempotence=true", "compression.type=lz4", "linger.ms=20", "batch.size=131072"]
    properties = ["--producer-props", f"bootstrap.servers={SERVERS}", *settings]
    cpu, peak, rate = [], 0.0, 0.0
    for number in (1, RECORDS):
        topic = create_topic(f"sent-{next(_number)}", "raw")
        sizes = ["--topic", topic, "--num-records", str(number), "--record-size", str(RECORD_BYTES)]
        output, used, peak = run([*tool, *sizes, *properties])
        cpu.append(used)
        rate = float(re.findall(r"([\d.]+) records/sec", output)[-1])  # Kafka's tool gives it nowhere else
        if (there := records_in(topic)) != number:
            raise WrongResult(f"ProducerPerformance: {number} records sent, {there} in the topic")
        delete_topics(topic)
    return Sent(RECORDS, RECORDS / rate, cpu[1] - cpu[0], peak)


OURS = "sensor-data-generator/producer.py"
CONTENDERS: dict[str, Callable[[], Sent]] = {
    "ours": partial(script, OURS),
    "ours, two processes": partial(script, OURS, NUM_PROCESSES="2"),
    "the original's way": partial(script, "benchmarks/original_producer.py"),
    # It sends our fleet's records.
    "confluent-kafka": partial(
        script, "benchmarks/confluent_producer.py", PYTHONPATH=str(ROOT / "sensor-data-generator")
    ),
    "ProducerPerformance": performance,
}
