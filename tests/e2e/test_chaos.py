"""Parts of the running pipeline are killed at random moments, under load; at the end the books must close.

`make chaos` makes it long: KILLS=30 (how many), SEED=... (the same seed kills the same parts after the same pauses).
"""

import os
import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import psutil
import pytest
from conftest import Stack, assert_every_window_is_right, poll_until, processes

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]

KILLS = int(os.environ.get("KILLS", "12"))
SEED = int(os.environ.get("SEED") or random.randrange(10**6))
# By the process manager's names. The coordinator holds the metadata store as well.
PARTS = [
    "kafka0",
    "pyspark",
    "sensorgenerator",
    "zookeeper",
    "coordinator",
    "broker",
    "historical",
    "indexer",
    "router",
]
LOAD = {"NUM_ENTITIES": "3000", "SENSOR_INTERVAL": "0.2", "SCRIPT_DURATION": "36000"}  # above 2,000 readings a second


@pytest.fixture(scope="module")
def loaded(stack: Stack) -> Iterator[Stack]:
    stack.environment |= LOAD
    up = stack.make("up")
    assert up.returncode == 0, up.stdout
    yield stack


def kill(stack: Stack, part: str, rng: random.Random) -> bool:
    """SIGKILL to a part, and whether there was something to kill; of the job's two processes to one of them or both."""
    try:
        process = psutil.Process(processes(stack.folder)[part])
        family = [*process.children(recursive=True), process]
    except psutil.NoSuchProcess:  # down still, from the kill before
        return False
    for victim in [rng.choice(family)] if rng.random() < 0.5 else family:
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(signal.SIGKILL)
    return True


def plan(rng: random.Random) -> list[list[str]]:
    """What is killed at a time: each part once, all at once, then any; in any order."""
    first = [[part] for part in PARTS] + [PARTS]
    more = [[rng.choice(PARTS)] if rng.random() < 0.9 else PARTS for _ in range(KILLS - len(first))]
    killed = (first + more)[:KILLS]
    rng.shuffle(killed)
    return killed


def at_least_acknowledged(stack: Stack) -> int:
    """The last word of each run of the generator on how many readings Kafka has acknowledged."""
    runs = re.split(r"vehicles send to", stack.log("sensorgenerator"))[1:]
    return sum(int((re.findall(r"sent, (\d+) acknowledged", run) or ["0"])[-1]) for run in runs)


def rate(stack: Stack) -> float:
    """Readings a second that the generator sent, over all its runs, from when each began to its last word."""
    runs = re.split(r"vehicles send to", stack.log("sensorgenerator"))[1:]
    lines = [re.findall(r"(\d+) sent, .* (\d+) of \d+ s$", run, re.M) for run in runs]
    last = [tuple(map(int, found[-1])) for found in lines if found]
    return sum(sent for sent, _ in last) / sum(seconds for _, seconds in last)


def test_nothing_is_lost_doubled_or_changed_whatever_is_killed(loaded: Stack) -> None:
    rng = random.Random(SEED)
    print(f"\nSEED={SEED} KILLS={KILLS}")
    start = time.monotonic()
    for number, parts in enumerate(plan(rng), 1):
        time.sleep(rng.uniform(0.5, 8))
        print(f"{time.monotonic() - start:4.0f} s  kill {number}: {', '.join(parts)}", flush=True)
        if len(parts) == 1:
            poll_until(f"{parts[0]} to kill", partial(kill, loaded, parts[0], rng), 60)
        else:
            assert sum(kill(loaded, part, rng) for part in parts) > 3
    poll_until("everything healthy again", lambda: loaded.make("status").returncode == 0, 300)
    time.sleep(20)  # under load, as before
    generator = psutil.Process(processes(loaded.folder)["sensorgenerator"])
    generator.terminate()
    poll_until("the generator's end", lambda: not generator.is_running(), 60)
    assert "0 failed" in loaded.log("sensorgenerator").splitlines()[-1]

    poll_until("the last windows", lambda: loaded.verify(300)["in windows still open"] == [0], seconds=180)
    books = loaded.verify()
    print("\n".join(f"{words}: {figures}" for words, figures in books.items()))
    print(f"{rate(loaded):,.0f} readings a second while the generator ran")
    assert books["records in the raw topic"][0] >= at_least_acknowledged(loaded)
    assert books["rejected"] == [0, 0]
    assert books["gaps in seq"] == books["duplicates by (entity, seq)"] == [0]
    assert books["readings"][1] == books["records in the raw topic"][0]
    assert_every_window_is_right(loaded.kafka, loaded.router)
