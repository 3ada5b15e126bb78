"""A stack of its own for the end-to-end tests, beside the user's: other folder, other ports, short windows."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import recompute
import requests
from rooms import ROOT

T = TypeVar("T")
PORTS = {
    "ROUTER_PORT": 18888,
    "KAFKA_PORT": 19092,
    "KAFKA_CONTROLLER_PORT": 19093,
    "ZOOKEEPER_PORT": 12181,
    "DERBY_PORT": 11527,
    "COORDINATOR_PORT": 18081,
    "BROKER_PORT": 18082,
    "HISTORICAL_PORT": 18083,
    "INDEXER_PORT": 18091,
}
WINDOW_SECONDS, WATERMARK_SECONDS = 10, 10
SETTINGS = {
    "NUM_ENTITIES": "50",
    "SENSOR_INTERVAL": "0.5",
    "SCRIPT_DURATION": "30",
    "WINDOW_DURATION": f"{WINDOW_SECONDS} seconds",
    "WATERMARK_DURATION": f"{WATERMARK_SECONDS} seconds",
}


@dataclass
class Stack:
    """A running stack, as a test sees it: make's verbs, Kafka's address, SQL, the logs."""

    folder: Path
    environment: dict[str, str]
    kafka: str
    router: str

    def make(self, verb: str, timeout: float = 400, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "--no-print-directory", verb, *(f"{name}={value}" for name, value in settings.items())],
            cwd=ROOT, env=self.environment, text=True, timeout=timeout,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def verify(self, wait: int = 120) -> dict[str, list[int]]:
        """The table of `make verify`: the figures of each line, by its words. Fails when the books don't close."""
        verify = self.make("verify", WAIT=str(wait))
        assert verify.returncode == 0, verify.stdout
        assert "The books close:" in verify.stdout
        return figures(verify.stdout)

    def log(self, service: str) -> str:
        return (self.folder / "logs" / f"{service}.log").read_text()

    def sql(self, query: str) -> list[dict[str, Any]]:
        return sql(self.router, query)


def figures(table: str) -> dict[str, list[int]]:
    """The figures of each line of a table, by the words before them."""
    lines = re.findall(r"^ +(\S.*?)((?: +[\d,]+)+)$", table, re.M)
    return {words: [int(figure.replace(",", "")) for figure in numbers.split()] for words, numbers in lines}


def sql(router: str, query: str) -> list[dict[str, Any]]:
    request = {"query": query, "context": {"useApproximateCountDistinct": False}}
    response = requests.post(f"{router}/druid/v2/sql", json=request, timeout=60)
    assert response.ok, response.text
    return list(response.json())


def poll_until(what: str, check: Callable[[], T], seconds: float) -> T:
    """What check() returns once it is true; fails naming what it waited for and the last thing seen.

    An error of check() is a thing seen: after a restart Druid doesn't know a datasource until a task holds rows of it.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            if seen := check():
                return seen
        except AssertionError as error:
            seen = error  # type: ignore[assignment]
        assert time.monotonic() < deadline, f"{what}: not so after {seconds} s, the last seen was {seen!r}"
        time.sleep(1)


def assert_every_window_is_right(kafka: str, router: str, least: int = 100) -> None:
    """Every window of the raw topic's readings, the last ones too, came once in Kafka and in Druid, value by value.

    To be called when nothing is under way. What was late is left out, by the batches that the job says it had.
    """
    tokens = recompute.records(kafka, "sensor-data-progress")
    on_time = recompute.on_time(recompute.messages(kafka, "sensor-data-raw"), tokens, WINDOW_SECONDS)
    expected = recompute.windows(on_time, WINDOW_SECONDS)
    assert len(expected) > least
    assert recompute.emitted(recompute.records(kafka, "sensor-data-aggregated")) == expected
    assert recompute.emitted(sql(router, 'SELECT * FROM "sensor-data-aggregated"')) == expected


def processes(folder: Path) -> dict[str, int]:
    """The process of each service, from the process manager's log of starts."""
    found = {}
    for line in (folder / "logs/supervisord.log").read_text().splitlines():
        if match := re.search(r"spawned: '(.+)' with pid (\d+)", line):
            found[match[1]] = int(match[2])
    return found


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A stack of which nothing has been started; stopped at the end."""
    folder = ROOT / ".local/e2e"
    ports = {name: str(port) for name, port in PORTS.items()}
    environment = {**os.environ, **ports, **SETTINGS, "STACK_DIR": str(folder)}
    running = Stack(folder, environment, f"127.0.0.1:{PORTS['KAFKA_PORT']}", f"http://127.0.0.1:{PORTS['ROUTER_PORT']}")
    assert running.make("reset").returncode == 0
    shutil.rmtree(folder / "aside", ignore_errors=True)  # what a test that was interrupted had moved there
    try:
        yield running
    finally:
        running.make("down")
