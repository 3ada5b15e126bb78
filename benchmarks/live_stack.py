"""The whole stack, started by `make up` as a user's is, in a folder and on ports of the benchmark's own."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import requests
from broker import PORTS
from live_figures import Row
from local_stack import manager
from local_stack.checks import describe_run
from local_stack.paths import LOGS, ROOT, STACK
from local_stack.pipeline import pipeline
from local_stack.services import GENERATOR, ledger, services
from measure import WrongResult, usage
from service import state

LEDGER_WAIT = 900  # seconds that `make verify` waits for what is under way
LEDGER_RESULT = STACK / "ledger.json"
# Nothing approximate, and nothing from Druid's caches.
EXACT = {"useApproximateCountDistinct": False, "useApproximateTopN": False, "useCache": False, "populateCache": False}
# What the live cases start the stack with, whatever the defaults are; a case overrides some of it. The fleet is what
# docs/performance.md calls the default load.
SETTINGS = {
    "NUM_ENTITIES": "200",
    "SENSOR_INTERVAL": "5",
    "SCRIPT_DURATION": "36000",  # no end: each case stops the generator
    "NUM_PROCESSES": "1",
    "WINDOW_DURATION": "60 seconds",
    "WATERMARK_DURATION": "180 seconds",
}


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def pause(seconds: float, what: str) -> None:
    """Wait, and print how long it still takes every half minute."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        say(f"{what}: {left:.0f} s to go")
        time.sleep(min(left, 30))


def now() -> float:
    """Milliseconds since the epoch."""
    return time.time() * 1000


class Druid:
    """SQL through the router, over one connection."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()

    def rows(self, query: str, timeout: float = 60) -> list[Row]:
        """The rows of the answer, none while Druid doesn't know the datasource yet. Raises RequestException."""
        request = {"query": query, "context": EXACT}
        response = self._session.post(f"{self._url}/druid/v2/sql", json=request, timeout=timeout)
        if response.status_code == 400 and "not found" in response.text:
            return []
        response.raise_for_status()
        return list(response.json())

    def number(self, query: str) -> int:
        """The column n of the first row, 0 where there is none."""
        found = self.rows(query)
        return int(found[0]["n"] or 0) if found else 0


class LiveStack:
    """`make`'s verbs, how far the data has come, and what the parts use."""

    def __init__(self) -> None:
        environment = dict(os.environ)
        # SETTINGS and the defaults count, and not what the user's shell sets.
        for row in (*services(environment).values(), ledger(environment)):
            for name in row.settings:
                environment.pop(name, None)
        self._environment = environment | PORTS
        self._settings = dict(SETTINGS)
        self._pipeline = pipeline(self._environment)
        self.raw, self.aggregated = (self._pipeline.datasources[role] for role in ("raw", "aggregated"))
        self.druid_url = self._pipeline.druid.url

    def make(self, verb: str, **settings: str) -> None:
        """Run a verb and show its output as it comes. Raises WrongResult when it fails."""
        given = [f"{name}={value}" for name, value in settings.items()]
        with subprocess.Popen(
            ["make", "--no-print-directory", verb, *given],
            cwd=ROOT, env=self._environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as process:  # fmt: skip
            assert process.stdout
            for line in process.stdout:
                print(f"    {line}", end="", flush=True)
        if process.returncode:
            raise WrongResult(f"make {verb} ended with {process.returncode}, see above; the logs are in {LOGS}")

    def up(self, **settings: str) -> float:
        """Start the stack, or change it, with SETTINGS and what was given so far; the seconds that it took."""
        self._settings |= settings
        say(f"make up {' '.join(f'{name}={value!r}' for name, value in self._settings.items())}")
        start = time.monotonic()
        self.make("up", **self._settings)
        return time.monotonic() - start

    def is_healthy(self) -> bool:
        command = ["make", "status"]
        return subprocess.run(command, cwd=ROOT, env=self._environment, capture_output=True).returncode == 0

    def verify(self) -> None:
        """Raises WrongResult unless the ledger closes over all that was sent."""
        self.make("verify", WAIT=str(LEDGER_WAIT), RESULT_FILE=str(LEDGER_RESULT))
        result = state.read(LEDGER_RESULT)
        if not result["closes"] or result["figures"]["removed"]:  # by retention
            raise WrongResult(result["sentence"])

    def druid(self) -> Druid:
        """A new connection."""
        return Druid(self.druid_url)

    def processes(self) -> dict[str, int]:
        """The process id of each part that runs."""
        return {name: process.pid for name, process in manager.processes().items() if process.pid}

    def cpu(self) -> dict[tuple[str, int], float]:
        """CPU seconds so far, by part and its process id."""
        used = {(name, pid): usage(pid).cpu for name, pid in self.processes().items()}
        supervisord = manager.rpc().getPID()
        return used | {("process manager", supervisord): sum(psutil.Process(supervisord).cpu_times()[:2])}

    def memory(self) -> dict[str, int]:
        """MiB that each part holds, as in `make status`."""
        held = {name: manager.memory(pid) for name, pid in self.processes().items()}
        return held | {"process manager": manager.memory(manager.rpc().getPID(), children=False)}

    def readings(self) -> int:
        """The readings that Kafka has got so far. Raises Unhealthy."""
        return self._pipeline.kafka.offsets(self._pipeline.raw_topic)[1]

    def job_lag(self) -> int:
        """Readings that the windows job has not read yet. Raises Unhealthy."""
        return self._pipeline.job_lag(self._pipeline.job_state())

    def generator(self) -> Row:
        """The generator's state file. Raises OSError before there is one."""
        file = services(self._environment)[GENERATOR].state_file
        assert file
        return state.read(file)

    def stop_generator(self) -> None:
        """Stop the generator if it runs. Raises WrongResult unless every record of its run is acknowledged."""
        if GENERATOR in self.processes():
            manager.rpc().stopProcess(GENERATOR, True)
        generator = self.generator()
        say(f"the generator: {describe_run(generator)}")
        if generator["state"] not in ("finished", "stopped") or generator["run"]["failed"]:
            raise WrongResult(f"the generator did not deliver every record: {generator}")


def cores(
    before: dict[tuple[str, int], float], after: dict[tuple[str, int], float], seconds: float
) -> dict[str, float]:
    """The cores that each part kept busy between two results of LiveStack.cpu(), `seconds` apart.

    Raises WrongResult when a part was restarted.
    """
    if before.keys() != after.keys():
        raise WrongResult(f"parts were restarted: {sorted(before.keys() ^ after.keys())}")
    return {part: (used - before[part, pid]) / seconds for (part, pid), used in after.items()}


@contextmanager
def live_stack() -> Iterator[LiveStack]:
    """A stack without data, to be started. At the end its ledger must close, or WrongResult is raised.

    Then all data is removed. After an error the stack is stopped, and its logs and its data stay.
    """
    stack = LiveStack()
    stack.make("reset")
    try:
        yield stack
        stack.stop_generator()
        stack.verify()
    except BaseException:
        stack.make("down")
        raise
    stack.make("reset")
