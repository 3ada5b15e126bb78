"""The whole stack, started by `make up` as a user's is, in a folder and on ports of the benchmark's own."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xmlrpc.client import ServerProxy

import psutil
import requests
from supervisor.xmlrpc import SupervisorTransport

from broker import FOLDER, ROOT
from health import job_lag
from live_figures import Row
from measure import Wrong, usage
from services import OVERRIDES, router_url
from settings import env_file
from stack import rss

DIR = FOLDER / "stack"
PORTS = {name: str(25_000 + int(port) % 1_000) for name, port in env_file().items() if name.endswith("_PORT")}
os.environ |= PORTS  # local/health.py asks there

WAIT = 900  # seconds that `make verify` waits for what is under way
# Nothing approximate, and nothing that an earlier query has left.
EXACT = {"useApproximateCountDistinct": False, "useApproximateTopN": False, "useCache": False, "populateCache": False}
FOREVER = "36000"  # seconds that the generator would run


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def pause(seconds: float, what: str) -> None:
    """Wait, and say so every half minute."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        say(f"{what}: {left:.0f} s to go")
        time.sleep(min(left, 30))


def now() -> float:
    """Milliseconds since the epoch."""
    return time.time() * 1000


class Druid:
    """SQL through the router, over a connection that stays."""

    def __init__(self) -> None:
        self._session = requests.Session()

    def rows(self, query: str, timeout: float = 60) -> list[Row]:
        """None while Druid doesn't know the datasource yet; raises requests.RequestException."""
        request = {"query": query, "context": EXACT}
        response = self._session.post(f"{router_url()}/druid/v2/sql", json=request, timeout=timeout)
        if response.status_code == 400 and "not found" in response.text:
            return []
        response.raise_for_status()
        return list(response.json())

    def number(self, query: str) -> int:
        """The n that it answers, 0 where there is none."""
        found = self.rows(query)
        return int(found[0]["n"] or 0) if found else 0


class LiveStack:
    """`make`'s verbs, and what the parts use. `settings` are the constants that are overridden, by name."""

    def __init__(self) -> None:
        own = {name for names in OVERRIDES.values() for name in names}
        self._environment = {name: value for name, value in os.environ.items() if name not in own}
        self._environment |= {"STACK_DIR": str(DIR)}
        self._settings: dict[str, str] = {"SCRIPT_DURATION": FOREVER}

    def make(self, verb: str, **settings: str) -> str:
        """What it says, which is shown as it comes; raises Wrong when it fails."""
        given = [f"{name}={value}" for name, value in settings.items()]
        said = []
        with subprocess.Popen(
            ["make", "--no-print-directory", verb, *given],
            cwd=ROOT, env=self._environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as process:  # fmt: skip
            assert process.stdout
            for line in process.stdout:
                print(f"    {line}", end="", flush=True)
                said.append(line)
        if process.returncode:
            raise Wrong(f"make {verb} ended with {process.returncode}, see above; the logs are in {DIR / 'logs'}")
        return "".join(said)

    def up(self, **settings: str) -> float:
        """Start, or change, with these constants and those given before; the seconds it took."""
        self._settings |= settings
        say(f"make up {' '.join(f'{name}={value!r}' for name, value in self._settings.items())}")
        start = time.monotonic()
        self.make("up", **self._settings)
        return time.monotonic() - start

    def healthy(self) -> bool:
        quiet = subprocess.DEVNULL
        return not subprocess.run(
            ["make", "status"], cwd=ROOT, env=self._environment, stdout=quiet, stderr=quiet
        ).returncode

    def manager(self) -> Any:
        return ServerProxy(
            "http://127.0.0.1", SupervisorTransport(None, None, f"unix://{DIR / 'supervisor.sock'}")
        ).supervisor

    def processes(self) -> dict[str, int]:
        """The process of each part that runs."""
        return {state["name"]: state["pid"] for state in self.manager().getAllProcessInfo() if state["pid"]}

    def cpu(self) -> dict[tuple[str, int], float]:
        """CPU seconds so far, by part and its process."""
        used = {(name, pid): usage(pid).cpu for name, pid in self.processes().items()}
        manager = self.manager().getPID()
        return used | {("process manager", manager): sum(psutil.Process(manager).cpu_times()[:2])}

    def memory(self) -> dict[str, int]:
        """MiB that each part holds, as in `make status`."""
        held = {name: rss(pid) for name, pid in self.processes().items()}
        return held | {"process manager": rss(self.manager().getPID(), children=False)}

    def lag(self) -> int:
        """Readings that the windows job has not read yet; raises health.Unhealthy."""
        return job_lag(json.loads((DIR / "data/pyspark/progress.json").read_text()))

    def stop_generator(self) -> None:
        if "sensorgenerator" in self.processes():
            self.manager().stopProcess("sensorgenerator", True)
        last = (DIR / "logs/sensorgenerator.log").read_text().splitlines()[-1]
        say(f"the generator: {last}")
        if "0 failed" not in last:
            raise Wrong(f"the generator ended with: {last}")


def cores(
    before: dict[tuple[str, int], float], after: dict[tuple[str, int], float], seconds: float
) -> dict[str, float]:
    """Cores that each part kept busy between two answers of LiveStack.cpu(); raises Wrong where one was restarted."""
    if before.keys() != after.keys():
        raise Wrong(f"parts were restarted: {sorted(before.keys() ^ after.keys())}")
    return {part: (used - before[part, pid]) / seconds for (part, pid), used in after.items()}


@contextmanager
def live_stack() -> Iterator[LiveStack]:
    """A stack to be started, without data. At the end its books must close; raises Wrong when they don't.

    It is gone afterwards, but for one that something went wrong with: that is stopped, and its logs and data stay.
    """
    stack = LiveStack()
    stack.make("reset")
    try:
        yield stack
        stack.stop_generator()
        if "The books close:" not in stack.make("verify", WAIT=str(WAIT)):
            raise Wrong("the books don't close, see above")
    except BaseException:
        stack.make("down")
        raise
    stack.make("reset")
