"""pyspark/in_container.sh: what a container does when the windows job ends; with a shell script as the job."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from repository import ROOT

SCRIPT = ROOT / "pyspark/in_container.sh"
Start = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the script with a job of which the body is given; `started` exists once the job runs."""
    running: list[subprocess.Popen[bytes]] = []

    def start(body: str) -> "subprocess.Popen[bytes]":
        job = tmp_path / "python"
        job.write_text(f"#!/bin/sh\ntouch started\n{body}\n")
        job.chmod(0o755)
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "WINDOWS_JOB_STATE_FILE": str(tmp_path / "state.json")}
        running.append(
            subprocess.Popen(
                ["sh", SCRIPT],
                cwd=tmp_path,
                env=environment,
                stderr=(tmp_path / "stderr").open("w"),
                start_new_session=True,
            )
        )
        deadline = time.monotonic() + 10
        while not (tmp_path / "started").exists():
            assert time.monotonic() < deadline, "the job has not started within 10 s"
            time.sleep(0.01)
        return running[-1]

    yield start
    for process in running:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)


@pytest.mark.parametrize("code", [0, 1, 3])
def test_the_container_ends_with_the_job_so_that_docker_restarts_it(start: Start, code: int) -> None:
    assert start(f"exit {code}").wait(timeout=10) == code


def test_a_killed_job_ends_the_container(start: Start) -> None:
    assert start("kill -9 $$").wait(timeout=10) == 128 + signal.SIGKILL


def test_a_job_that_refuses_to_start_is_not_restarted(start: Start, tmp_path: Path) -> None:
    process = start("exit 2")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    assert "The windows job is not restarted" in (tmp_path / "stderr").read_text()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == -signal.SIGTERM


def test_the_state_file_of_the_run_before_is_removed(start: Start, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text("{}")
    start("sleep 5 & wait")
    assert not state.exists()


def test_a_signal_stops_the_job_and_the_container_waits_for_it(start: Start) -> None:
    process = start("trap 'sleep 0.5; exit 7' TERM; sleep 30 & wait")
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 7
