"""Parts of the running pipeline are killed, stopped for a while or restarted at random moments, under load.

At the end the ledger must close, and a reader of committed records that ran all the time has seen no window twice.
`make chaos` makes it long: KILLS=30 (how many faults), SEED=... (the same seed gives the same faults and pauses).
"""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import psutil
import pytest
from kafka import KafkaConsumer
from kafka.errors import KafkaError
from local_stack.services import services
from pipeline import AGGREGATED, RAW, Pipeline, assert_every_window_is_right, poll_until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]

KILLS = int(os.environ.get("KILLS", "13"))
SEED = int(os.environ.get("SEED") or random.randrange(10**6))
# All but the one-shots that end before the load begins. The coordinator holds the metadata store as well.
PARTS = [row.name for row in services({}).values() if row.state_file or not row.one_shot]
ALL, MANAGER, RESTART, STOP = "all", "the process manager", "a clean restart", "stopped for a while: "
LOAD = {"NUM_ENTITIES": "3000", "SENSOR_INTERVAL": "0.2", "SCRIPT_DURATION": "36000"}  # above 2,000 readings a second


@pytest.fixture(scope="module")
def loaded(pipeline: Pipeline) -> Iterator[Pipeline]:
    java = os.environ.get("JAVA_HOME", "")  # with its optimizing compiler, as users run it
    pipeline.environment |= LOAD | {"JAVA_HOME": java}
    pipeline.started("up")
    yield pipeline


def kill(stack: Pipeline, part: str, rng: random.Random) -> bool:
    """SIGKILL to a part, and whether there was something to kill; of the job's two processes to one of them or both."""
    try:
        process = psutil.Process(stack.processes()[part])
        family = [*process.children(recursive=True), process]
    except (psutil.NoSuchProcess, KeyError):  # down still, from the kill before
        return False
    for victim in [rng.choice(family)] if rng.random() < 0.5 else family:
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(signal.SIGKILL)
    return True


def stop_for_a_while(stack: Pipeline, part: str, rng: random.Random) -> None:
    """SIGSTOP to a part, and SIGCONT some seconds later, if it is still there."""
    family: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess, KeyError):
        process = psutil.Process(stack.processes()[part])
        family = [*process.children(recursive=True), process]
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.send_signal(number)
        if number == signal.SIGSTOP:
            time.sleep(rng.uniform(3, 15))


def plan(rng: random.Random) -> list[str]:
    """What happens at a time: each part is killed once, all at once, and each other fault comes once; then any."""
    others = [MANAGER, STOP + rng.choice(PARTS), RESTART]
    first = [*PARTS, ALL, *others]
    more = [rng.choice([*PARTS, *PARTS, ALL, MANAGER, RESTART, *(STOP + part for part in PARTS)]) for _ in range(KILLS)]
    faults = (first + more)[:KILLS]
    rng.shuffle(faults)
    return faults


def inject(stack: Pipeline, fault: str, rng: random.Random) -> None:
    if fault == MANAGER:
        stack.kill_manager()
        stack.started("up")
    elif fault == RESTART:
        stack.started("down")
        stack.started("up")
    elif fault.startswith(STOP):
        stop_for_a_while(stack, fault.removeprefix(STOP), rng)
    elif fault == ALL:
        assert sum(kill(stack, part, rng) for part in PARTS) > 3
    else:
        poll_until(f"{fault} to kill", partial(kill, stack, fault, rng), 60)


@contextmanager
def reader_of_committed_windows(stack: Pipeline) -> Iterator[Counter[bytes]]:
    """How often each value of the aggregated topic was read, by a consumer that never sees an aborted record."""
    seen: Counter[bytes] = Counter()
    end = threading.Event()

    def read() -> None:
        with KafkaConsumer(
            AGGREGATED, bootstrap_servers=stack.kafka, isolation_level="read_committed", auto_offset_reset="earliest"
        ) as consumer:
            while not end.is_set():
                with suppress(KafkaError):  # the broker is down, too
                    for records in consumer.poll(timeout_ms=500).values():
                        seen.update(record.value for record in records)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield seen
    finally:
        end.set()
        thread.join(timeout=60)


def rate(stack: Pipeline) -> float:
    """Readings a second that the generator sent, over all its runs."""
    state = stack.generator()
    runs = state["earlier_runs"], state["run"]
    return float(sum(run["sent"] for run in runs) / sum(run["elapsed_seconds"] for run in runs))


def test_nothing_is_lost_doubled_or_changed_whatever_happens(loaded: Pipeline) -> None:
    with reader_of_committed_windows(loaded) as seen:
        faults_under_load(loaded)
        emitted = loaded.rows(AGGREGATED)
        poll_until("the reader of the windows", lambda: sum(seen.values()) >= emitted, 60)
    assert len(seen) == sum(seen.values()) == emitted


def faults_under_load(loaded: Pipeline) -> None:
    rng = random.Random(SEED)
    print(f"\nSEED={SEED} KILLS={KILLS}")
    start = time.monotonic()
    for number, fault in enumerate(plan(rng), 1):
        time.sleep(rng.uniform(0.5, 8))
        print(f"{time.monotonic() - start:4.0f} s  fault {number}: {fault}", flush=True)
        inject(loaded, fault, rng)
    poll_until("everything healthy again", loaded.is_healthy, 300)
    time.sleep(20)  # under load, as before
    generator = psutil.Process(loaded.processes()["sensorgenerator"])
    generator.terminate()
    poll_until("the generator's end", lambda: not generator.is_running(), 60)
    assert (loaded.generator()["state"], loaded.generator()["run"]["failed"]) == ("stopped", 0)

    # Druid's task starts again at the last hand-over, and Druid may take minutes to see that a task is gone.
    figures = loaded.closed(seconds=660, wait=600)
    print("\n".join(f"{name}: {figure}" for name, figure in figures.items()))
    print(f"{rate(loaded):,.0f} readings a second while the generator ran")
    # A killed run was acknowledged more than its state file, which is written once a second, says.
    assert figures["records"] >= loaded.acknowledged()
    assert figures["rejected"] == figures["gaps"] == figures["duplicates"] == 0
    assert loaded.rows(RAW) == figures["records"]
    assert_every_window_is_right(loaded.kafka, loaded.router)
