"""The running pipeline as the end-to-end tests see it: make's verbs, SQL, the ledger, the state files."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from xmlrpc.client import ServerProxy

import psutil
import pytest
import recompute
import requests
from kafka import KafkaAdminClient
from local_stack.java import java
from local_stack.manager import FOLDER_VARIABLE, NAME_VARIABLE
from local_stack.paths import socket_path
from repository import ROOT
from supervisor.xmlrpc import SupervisorTransport

T = TypeVar("T")
RAW, AGGREGATED, REJECTED = "sensor-data-raw", "sensor-data-aggregated", "sensor-data-rejected"
LATE, PROGRESS, CONTROL = "sensor-data-late", "sensor-data-progress", "sensor-data-control"
# The number of this process among those of pytest-xdist, each of which has a stack of its own
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
FOLDER = ROOT / ".local/e2e" / str(WORKER)
PORTS = {
    name: 9_500 + 3_000 * WORKER + port
    for name, port in {
        "ROUTER_PORT": 8888,
        "DASHBOARD_PORT": 8088,
        "KAFKA_PORT": 9092,
        "KAFKA_CONTROLLER_PORT": 9093,
        "ZOOKEEPER_PORT": 2181,
        "DERBY_PORT": 1527,
        "COORDINATOR_PORT": 8081,
        "BROKER_PORT": 8082,
        "HISTORICAL_PORT": 8083,
        "INDEXER_PORT": 8091,
        "KAFKA1_PORT": 9094,
        "KAFKA2_PORT": 9095,
        "KAFKA1_CONTROLLER_PORT": 9096,
        "KAFKA2_CONTROLLER_PORT": 9097,
        "SPARK_MASTER_PORT": 7077,
        "SPARK_WORKER0_PORT": 7078,
        "SPARK_WORKER1_PORT": 7079,
    }.items()
}
WINDOW_SECONDS, WATERMARK_SECONDS = 5, 5
SETTINGS = {
    "NUM_ENTITIES": "50",
    "SENSOR_INTERVAL": "0.5",
    "SCRIPT_DURATION": "15",
    "WINDOW_DURATION": f"{WINDOW_SECONDS} seconds",
    "WATERMARK_DURATION": f"{WATERMARK_SECONDS} seconds",
}
# Vehicles up to this number send as the generator does; the windows of others are not recomputed.
LAST_VEHICLE = 5000


@dataclass
class Pipeline:
    """A stack without Docker in a folder of its own, which may run or not."""

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

    def started(self, verb: str = "up", **settings: str) -> str:
        """What a verb that must succeed printed."""
        done = self.make(verb, **settings)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def is_healthy(self) -> bool:
        return self.make("status").returncode == 0

    def verify(self, wait: int = 120, removed: Collection[str] = (), **settings: str) -> dict[str, Any]:
        """The ledger's figures by name. Fails when the ledger doesn't close, or retention cut topics but `removed`."""
        with tempfile.NamedTemporaryFile() as file:
            done = self.make("verify", timeout=wait + 280, WAIT=str(wait), RESULT_FILE=file.name, **settings)
            assert done.returncode == 0, done.stdout
            result = json.loads(Path(file.name).read_text())
        assert result["closes"], result
        assert set(result["figures"]["removed"]) == set(removed)
        return dict(result["figures"])

    def closed(self, seconds: float = 120, wait: int = 120) -> dict[str, Any]:
        """The ledger's figures when no window is open any more."""

        def nothing_open() -> dict[str, Any] | None:
            figures = self.verify(wait)
            return None if figures["in_open_windows"] else figures

        return poll_until("the last windows", nothing_open, seconds)

    def generator(self) -> dict[str, Any]:
        """The generator's state file."""
        return dict(json.loads((self.folder / "data/generator/generator.json").read_text()))

    def job(self) -> dict[str, Any]:
        """The windows job's state file."""
        return dict(json.loads((self.folder / "data/pyspark/windows-job.json").read_text()))

    def acknowledged(self) -> int:
        """Records that Kafka acknowledged to the generator, in all of its runs."""
        state = self.generator()
        return int(state["earlier_runs"]["acknowledged"] + state["run"]["acknowledged"])

    def sql(self, query: str) -> list[dict[str, Any]]:
        return sql(self.router, query)

    def rows(self, datasource: str, where: str = "TRUE") -> int:
        return int(self.sql(f'SELECT COUNT(*) AS n FROM "{datasource}" WHERE {where}')[0]["n"])

    def processes(self) -> dict[str, int]:
        """The process of each service that runs, as the process manager knows it; empty when it doesn't run itself."""
        with suppress(OSError):
            return {info["name"]: info["pid"] for info in self.manager().getAllProcessInfo() if info["pid"]}
        return {}

    def members(self) -> dict[str, psutil.Process]:
        """The processes of the stack by their names, one of each, whether the process manager runs or not."""
        found = {}
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):  # it has ended, or belongs to another user
                environment = process.environ()
                if environment.get(FOLDER_VARIABLE) == str(self.folder):
                    found[environment[NAME_VARIABLE]] = process
        return found

    def manager(self) -> Any:
        """The process manager, as it is called from outside."""
        transport = SupervisorTransport(None, None, f"unix://{socket_path(self.folder)}")
        return ServerProxy("http://127.0.0.1", transport).supervisor

    def kill_manager(self) -> None:
        """SIGKILL to the process manager; the services go on without one until `make up`."""
        manager = psutil.Process(int((self.folder / "supervisord.pid").read_text()))
        manager.kill()
        manager.wait(10)

    def topics(self) -> set[str]:
        """The names of Kafka's topics."""
        with KafkaAdminClient(bootstrap_servers=self.kafka) as admin:
            return set(admin.list_topics())

    def hand_over(self) -> None:
        """Let Druid's task store what it holds of the raw topic, as it does every few minutes."""
        supervisor = f"{self.router}/druid/indexer/v1/supervisor/{RAW}"
        assert requests.post(f"{supervisor}/taskGroups/handoff", json={"taskGroupIds": [0]}, timeout=30).ok

    def kill_job(self) -> None:
        job = psutil.Process(self.processes()["pyspark"])
        for process in [*job.children(recursive=True), job]:
            process.send_signal(signal.SIGKILL)


def new_pipeline(folder: Path, ports: Mapping[str, int]) -> Pipeline:
    """A stack in `folder` of which nothing has been started. Skips the test where a program is missing."""
    for program in ("java", "make"):
        if not shutil.which(program):
            pytest.skip(f"the stack without Docker needs {program}, which is not on the PATH")
    environment = {
        **os.environ,
        **{name: str(port) for name, port in ports.items()},
        **SETTINGS,
        "STACK_DIR": str(folder),
        "JAVA_HOME": str(java_for_short_runs()),
    }
    router = f"http://127.0.0.1:{ports['ROUTER_PORT']}"
    return Pipeline(folder, environment, f"127.0.0.1:{ports['KAFKA_PORT']}", router)


def java_for_short_runs() -> Path:
    """A folder for JAVA_HOME, whose java runs without its optimizing compiler.

    Most processes of a test end before that compiler pays for itself (decision 0122).
    """
    home, itself = FOLDER.with_name(f"{FOLDER.name}-java"), Path(java())
    (home / "bin").mkdir(parents=True, exist_ok=True)
    script = home / "bin/java"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(str(itself))} -XX:TieredStopAtLevel=1 "$@"\n')
    script.chmod(0o755)
    (home / "lib").unlink(missing_ok=True)
    (home / "lib").symlink_to(itself.parent.parent / "lib")
    return home


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

    To be called when nothing is under way. Late readings are left out, by the batches that the job reports.
    """
    # What other clients have sent to the topic is no token.
    tokens = [token for token in recompute.records(kafka, PROGRESS) if isinstance(token, dict) and "query_id" in token]
    on_time = recompute.on_time(recompute.messages(kafka, RAW), tokens, WINDOW_SECONDS, LAST_VEHICLE)
    expected = recompute.windows(on_time, WINDOW_SECONDS)
    assert len(expected) > least
    assert recompute.emitted(recompute.records(kafka, AGGREGATED), LAST_VEHICLE) == expected
    assert recompute.emitted(sql(router, f'SELECT * FROM "{AGGREGATED}"'), LAST_VEHICLE) == expected
