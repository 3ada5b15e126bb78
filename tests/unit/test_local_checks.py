"""Without Docker: how the health of a service is found, by its process and by its state file."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from local_stack import checks, logs, manager
from local_stack.druid import Druid, without_login
from local_stack.errors import Unhealthy
from local_stack.kafka import Kafka
from local_stack.service import Process, Service

PID = 4711


def process(state: str = "RUNNING", exit_code: int = 0, pid: int = PID) -> Process:
    return Process("one", state, pid if state == "RUNNING" else 0, exit_code, started_at=0)


def service(check: Any = lambda _: "ready") -> Service:
    return Service("one", ["true"], Path("/"), check)


@pytest.mark.parametrize("one", [process(), process("EXITED")])
def test_a_process_that_runs_or_has_finished_is_asked(one: Process) -> None:
    assert checks.health(service(), one) == "ready"


@pytest.mark.parametrize(
    ("one", "seen"),
    [
        (process("STARTING"), "starting"),
        (process("STOPPED"), "stopped"),
        (process("EXITED", exit_code=2), r"exited \(NUM_ENTITIES is 0\.\)"),
        (process("FATAL"), r"fatal \(NUM_ENTITIES is 0\.\)"),
    ],
)
def test_a_process_that_does_not_run_is_unhealthy_and_one_that_failed_with_its_last_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, one: Process, seen: str
) -> None:
    monkeypatch.setattr(logs, "LOGS", tmp_path)
    (tmp_path / "one.log").write_text("first\n2026-11-26T00:08:04.123Z ERROR one: NUM_ENTITIES is 0.\n")
    with pytest.raises(Unhealthy, match=f"^{seen}$"):
        checks.health(service(), one)


def test_a_service_that_keeps_ending_is_unhealthy_with_its_last_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(logs, "LOGS", tmp_path)
    (tmp_path / "one.log").write_text("2026-11-26T00:08:04.123Z ERROR one: No space.\n")
    monkeypatch.setattr(manager, "waits", lambda _: 15.6)
    with pytest.raises(Unhealthy, match=r"^keeps ending, is started again in 16 s \(No space\.\)$"):
        checks.health(service(), process())


def test_a_one_shot_is_checked_when_it_has_finished() -> None:
    row = service(checks.when_finished(lambda: "done"))
    with pytest.raises(Unhealthy, match="still at work"):
        checks.health(row, process())
    assert checks.health(row, process("EXITED")) == "done"


def test_topics_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kafka, "topics", lambda _: {"a", "b"})
    assert checks.topics_exist(Kafka(""), ["a", "b"]) == "2 topics"
    with pytest.raises(Unhealthy, match="no topic c, d"):
        checks.topics_exist(Kafka(""), ["a", "d", "c"])


def test_supervisors_are_healthy_when_all_of_them_run(monkeypatch: pytest.MonkeyPatch) -> None:
    states: dict[str, dict[str, Any]] = {
        "a": {"detailedState": "RUNNING", "aggregateLag": 3},
        "b": {"detailedState": "RUNNING"},
    }
    monkeypatch.setattr(Druid, "supervisor", lambda _, name: states[name])
    assert checks.supervisors_run(Druid(without_login("")), states) == "a RUNNING, lag 3; b RUNNING, lag not known yet"
    states["b"]["detailedState"] = "PENDING"
    with pytest.raises(Unhealthy, match="supervisor b is PENDING"):
        checks.supervisors_run(Druid(without_login("")), states)


RUN = {"duration_seconds": 900.0, "elapsed_seconds": 25.2, "iteration": 5, "sent": 10, "acknowledged": 9, "failed": 0}


def written(path: Path, state: str, pid: int = PID) -> Path:
    path.write_text(json.dumps({"pid": pid, "state": state, "run": RUN}))
    return path


def test_the_generator_is_healthy_once_it_sends(tmp_path: Path) -> None:
    check = checks.generator_sends(tmp_path / "state.json")
    with pytest.raises(Unhealthy, match="has just been started"):
        check(process())
    written(tmp_path / "state.json", "connecting")
    with pytest.raises(Unhealthy, match="connecting to Kafka"):
        check(process())
    written(tmp_path / "state.json", "sending")
    assert check(process()) == "iteration 5: 10 sent, 9 acknowledged, 0 failed, 25 of 900 s"
    written(tmp_path / "state.json", "finished")
    assert check(process("EXITED")) == "finished: 10 sent, 9 acknowledged, 0 failed"


@pytest.mark.parametrize(
    ("reached", "words"), [("", "its begin"), ("2026-11-25T10:00:00.000Z", "2026-11-25T10:00:00.000Z")]
)
def test_the_state_of_a_generator_says_how_far_its_history_is(reached: str, words: str) -> None:
    generator = {"state": "sending", "run": {**RUN, "history": {"reached": reached}}}
    assert checks.describe_run(generator) == f"history up to {words}: 10 sent, 9 acknowledged, 0 failed"


def test_the_state_of_the_process_before_does_not_count(tmp_path: Path) -> None:
    check = checks.generator_sends(written(tmp_path / "state.json", "sending", pid=PID - 1))
    with pytest.raises(Unhealthy, match="has just been started"):
        check(process())


def test_a_log_that_is_not_there_has_no_last_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(logs, "LOGS", tmp_path)
    assert logs.last_message("one") == "(no log)"


class Pipeline:
    """Stands in for the pipeline: of a job that has 7 records to read."""

    def __init__(self, state_file: Path) -> None:
        self.job_state_file = state_file

    def job_lag(self, job: dict[str, Any]) -> int:
        return int("batch" not in job) * 7


@pytest.mark.parametrize(
    ("progress", "seconds_ago", "seen"),
    [
        ({}, 1, "at its first batch, lag 7"),
        ({"batch": 3, "watermark": "W", "totals": {"late": 5}}, 1, "batch 3, lag 0, watermark W, 5 late"),
        ({"batch": 3, "watermark": "W"}, 31, "no report for 31 s"),
    ],
)
def test_the_windows_job_is_healthy_while_it_reports(
    tmp_path: Path, progress: dict[str, Any], seconds_ago: int, seen: str
) -> None:
    written_at = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    state = {"pid": os.getpid(), "written_at": written_at.isoformat(timespec="milliseconds"), **progress}
    (tmp_path / "state.json").write_text(json.dumps(state))
    check = checks.windows_job_reports(Pipeline(tmp_path / "state.json"))  # type: ignore[arg-type]
    try:
        found = check(process(pid=os.getpid()))
    except Unhealthy as reason:
        found = str(reason)
    assert found == seen
