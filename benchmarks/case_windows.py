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
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from broker import PARTITIONS, SERVERS, Layout, create_topic, delete_topics, partitions_of
from kafka import KafkaConsumer, TopicPartition
from local_stack.paths import ROOT, STACK
from measure import WrongResult, cpu, usage
from readings import WATERMARK, Window
from service import contract

LIMIT = 1800  # seconds that a run may take
RUN = STACK / "run"  # a new folder for each run
READY = RUN / "ready"  # a file that each contender creates once its query has been started
ONE_BROKER: Layout = [[1]] * PARTITIONS
_number = itertools.count(1)


class Drained(NamedTuple):
    """The figures of one run, from the moment when its query has been started."""

    seconds: float
    cpu: float
    peak: float  # MiB
    own_cpu: float  # of `cpu`, that of the first process without its children
    others_cpu: float  # of the processes that were measured besides


Values = dict[str, Any]
Windows = dict[Window, Values]


def ours(
    topic: str,
    expected: Windows,
    window: int = 60,
    layout: Layout = ONE_BROKER,
    others: Sequence[int] = (),
    **settings: str,
) -> Drained:
    """Run pyspark.py as it is, with its checks, its rejected records and its exactly-once sink.

    `layout` is that of the topics which it writes, `others` are processes to be measured besides, `settings` further
    environment variables.
    """
    single = ("rejected", "late", "progress", "control")
    created = {role: create_topic(f"{role}-{next(_number)}", role, layout=layout[:1]) for role in single}
    created["aggregated"] = output = create_topic(f"windows-{next(_number)}", "aggregated", layout=layout)
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": SERVERS,
        **{contract.setting(role): name for role, name in {"raw": topic, **created}.items()},
        "CHECKPOINT_LOCATION": str(RUN / "checkpoint"),
        "WINDOWS_JOB_STATE_FILE": str(READY),  # written first when the query has been started
        "WINDOW_DURATION": f"{window} seconds",
        "WATERMARK_DURATION": f"{WATERMARK} seconds",
        **settings,
    }
    partition = TopicPartition(created["progress"], 0)
    tokens = KafkaConsumer(bootstrap_servers=SERVERS, isolation_level="read_committed", auto_offset_reset="earliest")
    tokens.assign([partition])
    written = 0

    def emitted() -> int:
        nonlocal written
        for token in tokens.poll(timeout_ms=100).get(partition, []):
            written += json.loads(token.value)["windows"]
        return written

    script = str(ROOT / "pyspark/pyspark.py")
    try:
        drained = drain([sys.executable, script], environment, emitted, len(expected), others)
        check(output, expected, operator.eq)
        return drained
    finally:
        tokens.close()
        delete_topics(*created.values())


def original(topic: str, expected: Windows, window: int = 60) -> Drained:
    output = create_topic(f"windows-{next(_number)}", "aggregated")
    consumer = KafkaConsumer(bootstrap_servers=SERVERS)
    partitions = partitions_of(output)
    script = str(ROOT / "benchmarks/original_windows.py")
    arguments = [SERVERS, topic, output, str(RUN / "checkpoint"), f"{window} seconds", str(READY)]
    command = [sys.executable, script, *arguments]
    try:
        drained = drain(command, {}, lambda: sum(consumer.end_offsets(partitions).values()), len(expected))
        check(output, expected, alike)
        return drained
    finally:
        consumer.close()
        delete_topics(output)


def alike(found: Values, expected: Values) -> bool:
    """Equal where the original's query is exact: it may round an average the other way, and last() is any reading's."""
    return abs(found["avg_temp"] - expected["avg_temp"]) < 0.011 and all(
        found[name] == expected[name] for name in ("count", "min_temp", "max_temp")
    )


def drain(
    command: list[str],
    environment: dict[str, str],
    emitted: Callable[[], int],
    number: int,
    others: Sequence[int] = (),
) -> Drained:
    """Run the command until `number` windows (or whatever `emitted` counts) are committed. Raises WrongResult."""
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir(parents=True)
    log = RUN / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + LIMIT
        wait_for(READY.exists, process, log, deadline)
        start, before, own, theirs = time.monotonic(), usage(process.pid), own_cpu(process.pid), cpu(others)
        wait_for(lambda: emitted() >= number, process, log, deadline)
        seconds, after = time.monotonic() - start, usage(process.pid)
        used = after.cpu - before.cpu
        return Drained(seconds, used, after.peak, own_cpu(process.pid) - own, cpu(others) - theirs)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def own_cpu(pid: int) -> float:
    """CPU seconds of a process so far, without its children."""
    return sum(psutil.Process(pid).cpu_times()[:2])


def check(output: str, expected: Windows, same: Callable[[Values, Values], bool]) -> None:
    """Raises WrongResult unless the topic holds exactly the expected windows, each once."""
    found = read(output)
    if found.keys() != expected.keys():
        missing, extra = len(expected.keys() - found.keys()), len(found.keys() - expected.keys())
        raise WrongResult(f"{output} lacks {missing} of the {len(expected)} windows expected and has {extra} others")
    for window, values in found.items():
        if not same(values, expected[window]):
            raise WrongResult(f"window {window} in {output} is {values}: expected was {expected[window]}")


def wait_for(check: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, deadline: float) -> None:
    while not check():
        if process.poll() is not None or time.monotonic() > deadline:
            code = process.poll()
            why = f"took more than {LIMIT} s" if code is None else f"ended with {code}"
            raise WrongResult(f"the process {why}: {log.read_text()[-2000:]}")
        time.sleep(0.05)


def read(output: str) -> Windows:
    """The windows of a topic. Raises WrongResult when one of them appears twice."""
    consumer = KafkaConsumer(
        bootstrap_servers=SERVERS, isolation_level="read_committed", enable_auto_commit=False, consumer_timeout_ms=3000
    )
    partitions = partitions_of(output)
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    found: Windows = {}
    names = ("count", "avg_temp", "min_temp", "max_temp", "last_humidity")
    for message in consumer:
        row = json.loads(message.value)
        window = int(datetime.fromisoformat(row["window_start"]).timestamp()), str(row["entity"])
        if window in found:
            raise WrongResult(f"window {window} appears twice in {output}")
        found[window] = {name: row[name] for name in names}
    consumer.close()
    return found
