"""Case windows: how fast a backlog of readings becomes windows, ours against the original's query."""

import itertools
import json
import operator
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition

from broker import FOLDER, ROOT, SERVERS, create_topic, delete_topics
from measure import Wrong, usage
from readings import Window

LIMIT = 1800  # seconds that a run may take
RUN = FOLDER / "run"
_number = itertools.count(1)


class Drained(NamedTuple):
    """One run: rates and CPU without the start of the process."""

    seconds: float
    cpu: float
    peak: float  # MiB


Values = dict[str, Any]
Windows = dict[Window, Values]


def ours(topic: str, expected: Windows, window: int = 60, heap: str = "") -> Drained:
    """pyspark.py as it is, its checks, its rejects and its exactly-once sink included; `heap` if not its default."""
    names = {name: create_topic(f"{name}-{next(_number)}", 1) for name in ("rejected", "progress", "control")}
    output = create_topic(f"windows-{next(_number)}")
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": SERVERS,
        "KAFKA_INPUT_TOPIC": topic,
        "KAFKA_OUTPUT_TOPIC": output,
        **{f"KAFKA_{name.upper()}_TOPIC": created for name, created in names.items()},
        "CHECKPOINT_LOCATION": str(RUN / "checkpoint"),
        "PROGRESS_FILE": str(RUN / "progress.json"),
        "WINDOW_DURATION": f"{window} seconds",
    }
    if heap:
        environment["SPARK_DRIVER_MEMORY"] = heap
    partition, tokens = (
        TopicPartition(names["progress"], 0),
        KafkaConsumer(bootstrap_servers=SERVERS, isolation_level="read_committed", auto_offset_reset="earliest"),
    )
    tokens.assign([partition])
    written = 0

    def emitted() -> int:
        nonlocal written
        for token in tokens.poll(timeout_ms=100).get(partition, []):
            written += json.loads(token.value)["windows"]
        return written

    script = str(ROOT / "pyspark/pyspark.py")
    try:
        drained = drain([sys.executable, script], environment, emitted, len(expected))
        check(output, expected, operator.eq)
        return drained
    finally:
        tokens.close()
        delete_topics(output, *names.values())


def original(topic: str, expected: Windows, window: int = 60) -> Drained:
    output = create_topic(f"windows-{next(_number)}")
    consumer = KafkaConsumer(bootstrap_servers=SERVERS)
    partitions = [TopicPartition(output, number) for number in range(2)]
    script = str(ROOT / "benchmarks/original_windows.py")
    command = [sys.executable, script, SERVERS, topic, output, str(RUN / "checkpoint"), f"{window} seconds"]
    try:
        drained = drain(command, {}, lambda: sum(consumer.end_offsets(partitions).values()), len(expected))
        check(output, expected, alike)
        return drained
    finally:
        consumer.close()
        delete_topics(output)


def alike(found: Values, expected: Values) -> bool:
    """Exactly so where the original's query is: it may round an average the other way, and last() is any reading's."""
    return abs(found["avg_temp"] - expected["avg_temp"]) < 0.011 and all(
        found[name] == expected[name] for name in ("count", "min_temp", "max_temp")
    )


def drain(command: list[str], environment: dict[str, str], emitted: Callable[[], int], number: int) -> Drained:
    """Run until that number of windows is in the output topic."""
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir(parents=True)
    log = RUN / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + LIMIT
        wait_for(lambda: b"windows of" in log.read_bytes(), process, log, deadline)
        start, before = time.monotonic(), usage(process.pid)
        wait_for(lambda: emitted() >= number, process, log, deadline)
        seconds, after = time.monotonic() - start, usage(process.pid)
        return Drained(seconds, after.cpu - before.cpu, after.peak)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def check(output: str, expected: Windows, same: Callable[[Values, Values], bool]) -> None:
    """Raises Wrong unless the topic holds these windows, each once."""
    found = read(output)
    if found.keys() != expected.keys():
        raise Wrong(f"{output} has {len(found)} windows that are not the {len(expected)} expected ones")
    for window, values in found.items():
        if not same(values, expected[window]):
            raise Wrong(f"{output} says {values} of window {window}, and it is {expected[window]}")


def wait_for(check: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, deadline: float) -> None:
    while not check():
        if process.poll() is not None or time.monotonic() > deadline:
            raise Wrong(f"it ended or took more than {LIMIT} s: {log.read_text()[-2000:]}")
        time.sleep(0.05)


def read(output: str) -> Windows:
    """The windows of a topic; raises Wrong where one comes twice."""
    consumer = KafkaConsumer(
        bootstrap_servers=SERVERS, isolation_level="read_committed", enable_auto_commit=False, consumer_timeout_ms=3000
    )
    partitions = [TopicPartition(output, number) for number in range(2)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    found: Windows = {}
    names = ("count", "avg_temp", "min_temp", "max_temp", "last_humidity")
    for message in consumer:
        row = json.loads(message.value)
        window = int(datetime.fromisoformat(row["window_start"]).timestamp()), row["entity"]
        if window in found:
            raise Wrong(f"window {window} came twice")
        found[window] = {name: row[name] for name in names}
    consumer.close()
    return found
