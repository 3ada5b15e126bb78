"""Destructive: each verb puts right what was done behind its back, also while the process manager is killed."""

import psutil
import pytest
import requests
from pipeline import AGGREGATED, PROGRESS, RAW, REJECTED, Pipeline, poll_until
from service import contract

pytestmark = pytest.mark.timeout(900)


def test_supervisors_that_were_suspended_or_terminated_run_again_after_make_up(stack: Pipeline) -> None:
    url = f"{stack.router}/druid/indexer/v1/supervisor"
    for name, change in ((RAW, "suspend"), (AGGREGATED, "terminate"), (REJECTED, "suspend")):
        assert requests.post(f"{url}/{name}/{change}", timeout=30).ok
    assert not stack.is_healthy()
    stack.started("up", SCRIPT_DURATION="0")
    assert stack.is_healthy()
    stack.verify()


def test_the_doctor_names_a_process_that_a_signal_has_stopped(stack: Pipeline) -> None:
    poll_until("a stack without findings", lambda: stack.make("doctor").returncode == 0, 120)
    kafka = psutil.Process(stack.processes()["kafka0"])
    kafka.suspend()
    try:
        doctor = stack.make("doctor")
    finally:
        kafka.resume()
    assert doctor.returncode != 0
    sentence = f"kafka0 was stopped by a signal: `kill -CONT {kafka.pid}` lets it go on."
    assert sentence in doctor.stdout.splitlines()
    assert "does not answer" not in doctor.stdout  # it is said once
    poll_until("a stack without findings", lambda: stack.make("doctor").returncode == 0, 120)


def test_every_verb_finds_what_a_killed_process_manager_left(stack: Pipeline) -> None:
    stack.kill_manager()
    doctor = stack.make("doctor")
    assert doctor.returncode != 0
    assert "The process manager was killed" in doctor.stdout
    status = stack.make("status")
    assert status.returncode != 0
    assert "The process manager was killed" in status.stdout
    assert "kafka0" in status.stdout
    before = stack.members()
    stack.started("up", SCRIPT_DURATION="5")
    assert not any(process.is_running() for process in before.values())
    stack.started("run", SCRIPT_DURATION="5")
    stack.verify()

    stack.kill_manager()
    stack.started("down")
    assert not stack.members()
    stack.started("reset")
    assert not stack.folder.exists()


def test_after_a_reset_every_service_uses_topics_of_other_names(pipeline: Pipeline) -> None:
    names = {contract.setting(role): f"other-{role}" for role in contract.topics()}
    pipeline.started("run", SCRIPT_DURATION="10", MALFORMED_SHARE="0.1", **names)
    figures, run = pipeline.closed(), pipeline.generator()["run"]
    assert figures["records"] == run["acknowledged"] > 500
    assert figures["rejected"] == run["injected"]["malformed_total"] > 10
    assert pipeline.rows(RAW) == run["injected"]["readings"]
    assert not {RAW, PROGRESS} & pipeline.topics()


def test_reset_leaves_nothing_even_if_the_process_manager_was_killed(stack: Pipeline) -> None:
    assert (stack.folder / "data").exists()
    stack.kill_manager()
    stack.started("reset")
    assert not stack.members()
    assert not stack.folder.exists()
