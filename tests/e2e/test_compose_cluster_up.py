"""docker-compose.cluster.yml, brought up for real: containers are killed under load, and queries go on meanwhile."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests
from compose import Compose, copy_of_the_checkout, need_docker
from pipeline import RAW, WATERMARK_SECONDS, WINDOW_SECONDS, assert_every_window_is_right, poll_until, sql

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]
PORTS = {"ROUTER_PORT": "28888", "KAFKA_PORT": "29092", "KAFKA1_PORT": "29094", "KAFKA2_PORT": "29095"}
ROUTER = f"http://127.0.0.1:{PORTS['ROUTER_PORT']}"
KAFKA = ",".join(f"127.0.0.1:{port}" for name, port in PORTS.items() if name.startswith("KAFKA"))
LONGEST_SILENCE = 20  # seconds that Druid may take to notice that a server is gone
# Kills the executor in a container, which has no program for it.
KILL_EXECUTOR = """
import os, pathlib, signal
for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if b"CoarseGrainedExecutorBackend" in path.read_bytes():
        os.kill(int(path.parent.name), signal.SIGKILL)
        print("killed")
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    need_docker()
    folder = tmp_path_factory.mktemp("cluster") / "checkout"
    copy_of_the_checkout(folder)
    environment = {
        **os.environ,
        **PORTS,
        "COMPOSE_FILE": "docker-compose.yml:docker-compose.cluster.yml",
        "COMPOSE_PROJECT_NAME": "sensors-e2e-cluster",
        "NUM_ENTITIES": "500",
        "SENSOR_INTERVAL": "0.5",
        "SCRIPT_DURATION": "36000",
        "WINDOW_DURATION": f"{WINDOW_SECONDS} seconds",
        "WATERMARK_DURATION": f"{WATERMARK_SECONDS} seconds",
    }
    with Compose(folder, environment).running() as running:
        yield running


def rows() -> int:
    return int(sql(ROUTER, f'SELECT COUNT(*) AS n FROM "{RAW}"')[0]["n"])


@contextmanager
def queries_go_on() -> Iterator[None]:
    """Ask Druid all the time; fails if it has not answered with rows for a while."""
    ended, silences = threading.Event(), [0.0]

    def ask() -> None:
        answered = time.monotonic()
        while not ended.wait(0.5):
            try:
                if rows() > 0:
                    answered = time.monotonic()
            except (AssertionError, requests.RequestException):
                silences.append(time.monotonic() - answered)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=60)
    assert max(silences) < LONGEST_SILENCE


def generators(cluster: Compose) -> list[str]:
    return cluster("ps", "--quiet", "sensorgenerator", merged=False).stdout.split()


def test_up_starts_two_of_each_and_all_are_healthy(cluster: Compose) -> None:
    states = cluster.services()
    for name in ("kafka2", "spark-master", "spark-worker1", "historical1", "indexer1"):
        assert (states[name]["State"], states[name]["Health"]) == ("running", "healthy"), name
    assert len(generators(cluster)) == 2
    cluster.assert_doctor_finds_nothing()


def test_nothing_runs_as_root_or_with_a_way_out(cluster: Compose) -> None:
    for name, state in cluster.services().items():
        if state["State"] == "running":
            assert cluster("exec", "--no-TTY", name, "id", "-u").stdout.strip() != "0", name
            assert cluster.inspect(name, ".HostConfig.ReadonlyRootfs"), name


def test_the_generators_share_the_fleet(cluster: Compose) -> None:
    """Each has its file in their volume, and sends half of the vehicles."""
    script = "cat /var/lib/sensor-data/generator.json; echo; cat /var/lib/sensor-data/generator-2.json"
    lines = cluster("exec", "--no-TTY", "sensorgenerator", "sh", "-c", script, merged=False).stdout.splitlines()
    first, second = (json.loads(line)["run"]["acknowledged"] for line in lines if line)
    assert min(first, second) > 0
    newest = f'SELECT entity FROM "{RAW}" GROUP BY entity'
    poll_until("all vehicles", lambda: len(sql(ROUTER, newest)) == 500, 60)


def test_nothing_is_lost_or_doubled_and_queries_go_on_when_containers_are_killed(cluster: Compose) -> None:
    poll_until("rows", lambda: rows() > 10_000, 120)
    with queries_go_on():
        for killed in (["kafka1"], ["spark-worker0"], ["historical1"], ["indexer1"], ["kafka0", "kafka2"]):
            assert cluster("kill", *killed).returncode == 0
            time.sleep(10)
            cluster.up()
            time.sleep(20)  # under load
        said = cluster("exec", "--no-TTY", "spark-worker1", "python", "-c", KILL_EXECUTOR)
        assert "killed" in said.stdout, said.stdout
        time.sleep(20)
        assert cluster("kill", "--signal", "KILL", "sensorgenerator").returncode == 0
        cluster.up()
        time.sleep(20)
    containers = generators(cluster)
    assert len(containers) == 2
    subprocess.run(["docker", "stop", *containers], check=True, capture_output=True)
    figures = cluster.closed()
    assert figures["rejected"] == figures["gaps"] == figures["duplicates"] == 0
    assert figures["records"] == figures["druid"]["readings"] == rows()
    assert_every_window_is_right(KAFKA, ROUTER)
