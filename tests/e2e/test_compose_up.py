"""docker-compose.yml, brought up for real from a copy of this checkout."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from pipeline import RAW, WATERMARK_SECONDS, WINDOW_SECONDS, assert_every_window_is_right, poll_until, sql
from repository import ROOT

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1500)]
ROUTER, KAFKA = "http://127.0.0.1:28888", "127.0.0.1:29092"


@dataclass
class Compose:
    folder: Path
    environment: dict[str, str]

    def __call__(self, *words: str, merged: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `docker compose`; `merged` with its errors in its output."""
        return subprocess.run(
            ["docker", "compose", *words],
            cwd=self.folder, env=self.environment, text=True, timeout=900,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT if merged else subprocess.PIPE,
        )  # fmt: skip

    def services(self) -> dict[str, dict[str, str]]:
        lines = self("ps", "--all", "--format", "json").stdout.splitlines()
        return {state["Service"]: state for state in map(json.loads, lines)}

    def up(self) -> None:
        up = self("up", "--detach", "--wait", "--wait-timeout", "300")
        assert up.returncode == 0, up.stdout + self("logs", "--tail", "20").stdout

    def generator(self) -> dict[str, Any]:
        """The generator's state file when it has ended."""
        poll_until("the generator's end", lambda: self.services()["sensorgenerator"]["State"] == "exited", 180)
        copied = self("cp", "sensorgenerator:/var/lib/sensor-data/generator.json", str(self.folder / "generator.json"))
        assert copied.returncode == 0, copied.stdout
        return dict(json.loads((self.folder / "generator.json").read_text()))

    def acknowledged(self) -> int:
        """Records that Kafka acknowledged to the generator, in all of its runs."""
        state = self.generator()
        assert state["run"]["failed"] == 0
        return int(state["earlier_runs"]["acknowledged"] + state["run"]["acknowledged"])

    def closed(self) -> dict[str, Any]:
        """The ledger's figures when it closes and no window is open any more."""

        def closed() -> dict[str, Any]:
            script = "python ledger/verify.py >&2; cat /tmp/result.json"
            variables = ("--env", "WAIT=120", "--env", "RESULT_FILE=/tmp/result.json")
            verify = self("run", "--rm", *variables, "verify", "sh", "-c", script, merged=False)
            result = json.loads(verify.stdout.splitlines()[-1])  # after what the build of the image printed
            assert result["closes"], result
            assert result["figures"]["in_open_windows"] == 0
            return dict(result["figures"])

        return poll_until("the ledger", closed, 240)


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """A copy of the files that git knows, so that an edit is no edit of this checkout."""
    folder = tmp_path_factory.mktemp("checkout") / "sensors"
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    environment = {
        **os.environ,
        "COMPOSE_PROJECT_NAME": "sensors-e2e",
        "ROUTER_PORT": "28888",
        "KAFKA_PORT": "29092",
        "SENSOR_INTERVAL": "0.5",
        "SCRIPT_DURATION": "45",
        "WINDOW_DURATION": f"{WINDOW_SECONDS} seconds",
        "WATERMARK_DURATION": f"{WATERMARK_SECONDS} seconds",
    }
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("there is no Docker engine that answers")
    running = Compose(folder, environment)
    running("down", "--volumes")
    try:
        running.up()
        yield running
    finally:
        running("down", "--volumes", "--rmi", "local")


def test_up_brings_everything_up_healthy(compose: Compose) -> None:
    for name, state in compose.services().items():
        if name in ("topics", "supervisor-specs"):
            assert (state["State"], int(state["ExitCode"])) == ("exited", 0), name
        elif name != "sensorgenerator":
            assert (state["State"], state["Health"]) == ("running", "healthy"), name
    assert requests.get(f"{ROUTER}/unified-console.html", timeout=30).ok


def test_nothing_runs_as_root(compose: Compose) -> None:
    for name in compose.services():
        user = compose("exec", "--no-TTY", name, "id", "-u").stdout.strip()
        assert user != "0", name


def assert_ledger_closes(compose: Compose, acknowledged: int) -> None:
    """Every acknowledged reading is in Kafka and Druid; every window, once, equals the recomputation."""
    figures = compose.closed()
    assert figures["records"] == figures["kafka"]["readings"] == figures["druid"]["readings"] == acknowledged
    assert figures["late"] == 0
    assert_every_window_is_right(KAFKA, ROUTER)


def test_the_datasources_hold_what_was_sent(compose: Compose) -> None:
    assert_ledger_closes(compose, compose.acknowledged())


def test_an_edited_constant_takes_effect_at_the_next_up_and_nothing_is_lost(compose: Compose) -> None:
    assert compose("down").returncode == 0
    script = compose.folder / "sensor-data-generator/producer.py"
    line = re.compile(r"^num_entities = (\d+)", re.MULTILINE)
    found = line.search(script.read_text())
    assert found
    vehicles = int(found[1]) + 7
    script.write_text(line.sub(f"num_entities = {vehicles}", script.read_text()))
    compose.up()
    # Druid looks for a worker once a minute for tasks that were there before the restart.
    newest = f'SELECT MAX(entity) AS m FROM "{RAW}"'
    poll_until("the new vehicles in Druid", lambda: sql(ROUTER, newest)[0]["m"] == vehicles, 240)
    assert_ledger_closes(compose, compose.acknowledged())


def test_killed_containers_lose_nothing_and_double_nothing(compose: Compose) -> None:
    """What is killed by hand Docker does not start again: that is the next `up`."""
    compose.environment |= {"SCRIPT_DURATION": "3600", "SENSOR_INTERVAL": "0.1"}
    compose.up()
    servers = [name for name in compose.services() if name not in ("topics", "supervisor-specs", "sensorgenerator")]
    for killed in (["kafka0"], ["pyspark"], ["indexer"], ["postgres", "zookeeper"], ["coordinator", "broker"], servers):
        time.sleep(5)
        assert compose("kill", *killed).returncode == 0
        compose.up()
    assert compose("stop", "sensorgenerator").returncode == 0
    figures = compose.closed()
    assert figures["gaps"] == figures["duplicates"] == 0
    assert_every_window_is_right(KAFKA, ROUTER)
