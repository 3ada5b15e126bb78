"""How fast one and two tasks of Druid read the same topic, and how large their segments are."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import readings
import requests
from broker import SERVERS, create_topic
from case_growth import stored, wait_for
from live_figures import Row
from live_stack import LiveStack, live_stack, say
from local_stack.paths import ROOT
from measure import WrongResult

TOPIC = "druid-tasks"
LIMIT = 600  # seconds that the tasks may take
POLL = 0.25  # seconds
_number = count(1)


@contextmanager
def stack_with(shape: readings.Shape) -> Iterator[LiveStack]:
    """The whole stack without load, and a topic of 4 partitions besides that has the readings."""
    with live_stack() as stack:
        stack.up(SCRIPT_DURATION="0")
        say(f"scaling: {shape.rows:,} readings to {TOPIC}")
        topic = create_topic(TOPIC, "raw", 4)
        readings.deliver(SERVERS, topic, (record for _, record in readings.records(shape)))
        say("scaling: a first run of the tasks, in which Java compiles their code")
        ingested(stack, shape.rows, 1)
        yield stack


def contenders(stack: LiveStack, rows: int) -> dict[str, Callable[[], Row]]:
    return {
        "one task, 4 partitions": lambda: ingested(stack, rows, 1),
        "two tasks": lambda: ingested(stack, rows, 2),
    }


def ingested(stack: LiveStack, rows: int, tasks: int) -> Row:
    """Let that many tasks read the topic into a new datasource, up to its segments."""
    datasource, druid = f"tasks-{next(_number)}", stack.druid()
    supervisors = f"{stack.druid_url}/druid/indexer/v1/supervisor"
    requests.post(supervisors, json=spec(datasource, tasks), timeout=30).raise_for_status()
    query = f'SELECT COUNT(*) AS n FROM "{datasource}"'
    wait_for("readings in Druid", lambda: druid.number(query), 1)
    # From here on: the start of the tasks doesn't grow with the data.
    first, start, before = druid.number(query), time.monotonic(), indexer(stack)
    while (found := druid.number(query)) < rows:
        if time.monotonic() - start > LIMIT:
            raise WrongResult(f"{tasks} of Druid's tasks read only {found:,} of {rows:,} readings in {LIMIT} s")
        time.sleep(POLL)
    seconds, used = time.monotonic() - start, indexer(stack) - before
    if found > rows:
        raise WrongResult(f"Druid has {found:,} readings, and the topic {rows:,}")
    # A supervisor that has not seen its tasks start would leave them as they are.
    wait_for("tasks that the supervisor knows", lambda: started(f"{supervisors}/{datasource}/status"), tasks)
    # They publish what they hold, and end later: the next ones find free slots.
    requests.post(f"{supervisors}/{datasource}/terminate", timeout=30).raise_for_status()
    wait_for("readings in segments", lambda: stored(druid, datasource), rows)
    size = druid.number(
        f"SELECT SUM(\"size\") AS n FROM sys.segments WHERE datasource = '{datasource}' AND is_active = 1"
    )
    return {
        "records/s": (rows - first) / seconds,
        "CPU s/M": used / (rows - first) * 1e6,
        "bytes per reading": size / rows,
    }


def started(status: str) -> int:
    """The number of tasks of which the supervisor knows the start."""
    answer = requests.get(status, timeout=30)
    answer.raise_for_status()
    return sum(1 for task in answer.json()["payload"]["activeTasks"] if task["startTime"])


def spec(datasource: str, tasks: int) -> dict[str, Any]:
    """The spec of the readings' supervisor, for the topic and with that many tasks."""
    found: dict[str, Any] = json.loads((ROOT / "supervisor-specs/sensor-data-raw.json").read_text())
    found["spec"]["dataSchema"]["dataSource"] = datasource
    found["spec"]["ioConfig"] |= {
        "topic": TOPIC, "taskCount": tasks, "consumerProperties": {"bootstrap.servers": SERVERS}
    }  # fmt: skip
    return found


def indexer(stack: LiveStack) -> float:
    """CPU seconds so far of the process that runs the tasks."""
    return sum(seconds for (part, _), seconds in stack.cpu().items() if part == "indexer")
