"""Parts of the running pipeline are killed at random moments, under load; at the end the ledger must close.

`make chaos` makes it long: KILLS=30 (how many), SEED=... (the same seed kills the same parts after the same pauses).
"""

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import psutil
import pytest
from local_stack.services import services
from pipeline import RAW, Pipeline, assert_every_window_is_right, poll_until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]

KILLS = int(os.environ.get("KILLS", "12"))
SEED = int(os.environ.get("SEED") or random.randrange(10**6))
# All but the one-shots that end before the load begins. The coordinator holds the metadata store as well.
PARTS = [row.name for row in services({}).values() if row.state_file or not row.one_shot]
LOAD = {"NUM_ENTITIES": "3000", "SENSOR_INTERVAL": "0.2", "SCRIPT_DURATION": "36000"}  # above 2,000 readings a second


@pytest.fixture(scope="module")
def loaded(pipeline: Pipeline) -> Iterator[Pipeline]:
    pipeline.environment |= LOAD
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


def plan(rng: random.Random) -> list[list[str]]:
    """What is killed at a time: each part once, all at once, then any; in any order."""
    first = [[part] for part in PARTS] + [PARTS]
    more = [[rng.choice(PARTS)] if rng.random() < 0.9 else PARTS for _ in range(KILLS - len(first))]
    killed = (first + more)[:KILLS]
    rng.shuffle(killed)
    return killed


def rate(stack: Pipeline) -> float:
    """Readings a second that the generator sent, over all its runs."""
    state = stack.generator()
    runs = state["earlier_runs"], state["run"]
    return float(sum(run["sent"] for run in runs) / sum(run["elapsed_seconds"] for run in runs))


def test_nothing_is_lost_doubled_or_changed_whatever_is_killed(loaded: Pipeline) -> None:
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
    poll_until("everything healthy again", loaded.is_healthy, 300)
    time.sleep(20)  # under load, as before
    generator = psutil.Process(loaded.processes()["sensorgenerator"])
    generator.terminate()
    poll_until("the generator's end", lambda: not generator.is_running(), 60)
    assert (loaded.generator()["state"], loaded.generator()["run"]["failed"]) == ("stopped", 0)

    figures = loaded.closed(seconds=180, wait=300)
    print("\n".join(f"{name}: {figure}" for name, figure in figures.items()))
    print(f"{rate(loaded):,.0f} readings a second while the generator ran")
    # A killed run was acknowledged more than its state file, which is written once a second, says.
    assert figures["records"] >= loaded.acknowledged()
    assert figures["rejected"] == figures["gaps"] == figures["duplicates"] == 0
    assert loaded.rows(RAW) == figures["records"]
    assert_every_window_is_right(loaded.kafka, loaded.router)
