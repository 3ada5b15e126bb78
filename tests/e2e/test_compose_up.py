"""docker-compose.yml, brought up for real from a copy of this checkout. Each test builds on those before it."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from conftest import WATERMARK_SECONDS, WINDOW_SECONDS, assert_every_window_is_right, figures, poll_until, sql
from rooms import ROOT

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1500)]
RAW = "sensor-data-raw"
ROUTER, KAFKA = "http://127.0.0.1:28888", "127.0.0.1:29092"


@dataclass
class Compose:
    folder: Path
    environment: dict[str, str]

    def __call__(self, *words: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", "compose", *words],
            cwd=self.folder, env=self.environment, text=True, timeout=timeout,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def services(self) -> dict[str, dict[str, str]]:
        lines = self("ps", "--all", "--format", "json").stdout.splitlines()
        return {state["Service"]: state for state in map(json.loads, lines)}

    def up(self) -> None:
        up = self("up", "--detach", "--wait", "--wait-timeout", "300")
        assert up.returncode == 0, up.stdout + self("logs", "--tail", "20").stdout

    def acknowledged(self) -> int:
        """What the generator reports when it has ended."""
        poll_until("the generator's end", lambda: self.services()["sensorgenerator"]["State"] == "exited", 180)
        said = self("logs", "--no-log-prefix", "sensorgenerator").stdout
        endings = re.findall(r"^(?:finished|stopped by \w+): \d+ sent, (\d+) acknowledged, 0 failed$", said, re.M)
        return int(endings[-1])


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
    running = Compose(folder, environment)
    running("down", "--volumes")
    try:
        yield running
    finally:
        running("down", "--volumes", "--rmi", "local")


def test_up_brings_everything_up_healthy(compose: Compose) -> None:
    compose.up()
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


def books(compose: Compose) -> dict[str, list[int]]:
    """The ledger's figures when the books close and no window is open any more."""

    def closed() -> dict[str, list[int]]:
        verify = compose("run", "--rm", "--env", "WAIT=120", "verify")
        assert "The books close:" in verify.stdout, verify.stdout
        found = figures(verify.stdout)
        assert found["in windows still open"] == [0]
        return found

    return poll_until("the books", closed, 240)


def assert_books_close(compose: Compose, acknowledged: int) -> None:
    """Every acknowledged reading is in Kafka and Druid; every window, once, equals the recomputation."""
    found = books(compose)
    assert found["records in the raw topic"] == [acknowledged]
    assert found["readings"] == [acknowledged, acknowledged]
    assert found["late"] == [0]
    assert_every_window_is_right(KAFKA, ROUTER)


def test_both_datasources_hold_what_was_sent(compose: Compose) -> None:
    assert_books_close(compose, compose.acknowledged())


def test_an_edited_constant_takes_effect_at_the_next_up_and_nothing_is_lost(compose: Compose) -> None:
    before = compose.acknowledged()
    assert compose("down").returncode == 0
    script = compose.folder / "sensor-data-generator/producer.py"
    text = script.read_text()
    assert "num_entities = 200 " in text
    script.write_text(text.replace("num_entities = 200 ", "num_entities = 207 "))
    compose.up()
    # Druid looks for a worker once a minute for tasks that were there before the restart.
    newest = f'SELECT MAX(entity) AS m FROM "{RAW}"'
    poll_until("the new vehicles in Druid", lambda: sql(ROUTER, newest)[0]["m"] == 207, 240)
    assert_books_close(compose, before + compose.acknowledged())


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
    found = books(compose)
    assert found["gaps in seq"] == found["duplicates by (entity, seq)"] == [0]
    assert_every_window_is_right(KAFKA, ROUTER)
