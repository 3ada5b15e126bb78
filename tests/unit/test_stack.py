"""The verbs without Docker: what they wait for, say and remove."""

import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xmlrpc.client import Fault

import psutil
import pytest
import requests

import health
import stack


def test_a_shells_settings_for_another_spark_or_kafka_stay_out(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = {"SPARK_HOME", "SPARK_CONF_DIR", "PYSPARK_PYTHON", "KAFKA_OPTS", "PYTHONPATH", "PYTHONHOME"}
    for name in (*foreign, "SCRIPT_DURATION", "PYTHONUNBUFFERED"):
        monkeypatch.setenv(name, "1")
    assert not stack.inherited().keys() & (foreign | {"SCRIPT_DURATION"})
    assert {"PATH", "PYTHONUNBUFFERED"} <= stack.inherited().keys()


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A stack's folder as it is after `make down`."""
    folder = tmp_path / "stack"
    for name in ("data/kafka/log", "data/zookeeper", "data/druid/var", "data/pyspark/checkpoint", "logs"):
        (folder / name).mkdir(parents=True)
    for name in ("logs/kafka0.log", "logs/kafka0.log.1", "supervisord.conf", "kafka.properties", "data/druid/var/x"):
        (folder / name).touch()
    for name, path in (("STACK", folder), ("DATA", folder / "data"), ("LOGS", folder / "logs")):
        monkeypatch.setattr(stack, name, path)
    monkeypatch.setattr(stack, "states", dict)
    return folder


def test_reset_removes_what_the_stack_made(folder: Path) -> None:
    stack.reset()
    assert not folder.exists()
    stack.reset()


def test_reset_leaves_what_others_have_in_its_folder(folder: Path) -> None:
    (folder / "data/photos").mkdir()
    (folder / "letter.txt").touch()
    stack.reset()
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    assert left == ["data", "data/photos", "letter.txt"]


def test_reset_says_what_it_could_not_remove(folder: Path) -> None:
    (folder / "data/kafka/log").rmdir()
    (folder / "data/kafka").rmdir()
    (folder / "data/kafka").symlink_to(folder / "logs")
    with pytest.raises(SystemExit, match="Not all data could be removed .*symbolic link"):
        stack.reset()


class Answer:
    """Of Druid, to a query for a datasource that it doesn't know."""

    status_code, text = 400, "Object 'sensor-data-aggregated' not found (line [1], column [27])"

    def raise_for_status(self) -> None:
        raise requests.HTTPError("400")


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the windows job says of itself, after a minute of which no window is closed yet; Druid knows nothing."""
    offsets = {"sensor-data-raw": {"0": 60, "1": 40}, "sensor-data-control": {"0": 0}}
    progress = {"batch": 3, "window_seconds": 60, "watermark_seconds": 180, "offsets": offsets}
    progress["watermark"] = "2026-11-24T10:00:00.000Z"
    monkeypatch.setattr(health, "job_progress", lambda: progress)
    monkeypatch.setattr(health, "raw_offsets", lambda: (0, 100))
    monkeypatch.setattr(requests, "post", lambda *_, **__: Answer())
    return progress


def test_the_summary_needs_no_window_that_is_closed(
    job: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.summary()
    assert "rejected" not in capsys.readouterr().out
    monkeypatch.setattr(health, "open_windows", lambda: 200)
    monkeypatch.setattr(health, "rows", lambda name: 3 if name == health.REJECTED else 0)
    stack.summary()
    said = capsys.readouterr().out
    assert "200  windows still open; they close by themselves 255 s after the last reading" in said
    assert "3  records that are no readings" in said


def test_a_job_without_readings_has_caught_up(job: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "raw_offsets", lambda: (0, 0))
    job.clear()
    job.update(window_seconds=60, watermark_seconds=180)
    assert health.job_has_caught_up()


@pytest.mark.parametrize(
    ("newest", "watermark", "caught_up"),
    [
        ("10:03:00.000", "10:00:00.000", True),
        ("10:03:59.999", "10:00:00.000", True),  # it moves minute by minute
        ("10:04:00.000", "10:00:00.000", False),
        ("10:04:00.000", "10:01:00.000", True),
        ("10:04:00.000", "10:02:00.000", True),  # a silence has put it further
    ],
)
def test_a_job_has_caught_up_when_its_watermark_is_where_the_newest_reading_puts_it(
    job: dict[str, Any], monkeypatch: pytest.MonkeyPatch, newest: str, watermark: str, caught_up: bool
) -> None:
    job["watermark"] = f"2026-11-24T{watermark}Z"
    millis = datetime.fromisoformat(f"2026-11-24T{newest}Z").timestamp() * 1000
    monkeypatch.setattr(health, "number", lambda _: int(millis))
    assert health.job_has_caught_up() is caught_up


def clock(
    monkeypatch: pytest.MonkeyPatch, sleep: Callable[[float], None], monotonic: Callable[[], float] = time.monotonic
) -> None:
    """The time for stack.py only: threads of Py4J, from other tests, sleep as well."""
    monkeypatch.setattr(stack, "time", SimpleNamespace(sleep=sleep, monotonic=monotonic))


def test_late_and_malformed_records_are_no_reason_to_wait(monkeypatch: pytest.MonkeyPatch, job: dict[str, Any]) -> None:
    rows = {"sensor-data-raw": 93, "sensor-data-rejected": 7, "sensor-data-aggregated": 40}
    monkeypatch.setattr(health, "rows", rows.get)
    monkeypatch.setattr(health, "job_has_caught_up", lambda: True)
    # One more, by the readings in Druid, has late readings only and so was never emitted.
    monkeypatch.setattr(health, "windows_emitted", lambda: 40)
    clock(monkeypatch, lambda _: pytest.fail("it waits"))
    assert stack.wait_until_queryable(0)


@pytest.mark.parametrize("missing", ["sensor-data-raw", "sensor-data-rejected", "sensor-data-aggregated"])
def test_what_is_not_yet_in_druid_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, job: dict[str, Any], missing: str
) -> None:
    rows = {"sensor-data-raw": 93, "sensor-data-rejected": 7, "sensor-data-aggregated": 40}
    rows[missing] -= 1
    monkeypatch.setattr(health, "rows", rows.get)
    monkeypatch.setattr(health, "job_has_caught_up", lambda: True)
    monkeypatch.setattr(health, "windows_emitted", lambda: 40)

    waited = []

    def arrive(seconds: float) -> None:
        waited.append(seconds)
        rows[missing] += 1

    clock(monkeypatch, arrive)
    assert stack.wait_until_queryable(0)
    assert len(waited) == 1


def test_what_does_not_change_any_more_is_as_far_as_it_goes(
    monkeypatch: pytest.MonkeyPatch, job: dict[str, Any]
) -> None:
    now = [0.0]
    clock(monkeypatch, lambda seconds: now.__setitem__(0, now[0] + seconds), lambda: now[0])
    monkeypatch.setattr(health, "rows", lambda _: 1)
    monkeypatch.setattr(health, "job_has_caught_up", lambda: True)
    assert stack.wait_until_queryable(0)
    assert stack.UNCHANGED_LIMIT < now[0] < stack.CATCH_UP_LIMIT


def no_answer() -> None:
    raise health.Unhealthy("no answer")


def test_a_stack_that_is_stopped_meanwhile_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "states", dict)
    monkeypatch.setattr(health, "raw_offsets", no_answer)
    for wait in (stack.running, lambda: stack.wait_until_queryable(0)):
        with pytest.raises(SystemExit, match="^The stack was stopped.$"):
            wait()

    def stopping() -> None:
        raise Fault(6, "SHUTDOWN_STATE")

    monkeypatch.setattr(stack, "states", stopping)
    monkeypatch.setattr(sys, "argv", ["stack.py", "status"])
    with pytest.raises(SystemExit, match=r"refuses \(SHUTDOWN_STATE\): is another command stopping the stack"):
        stack.main()


def test_a_process_that_ends_while_it_is_looked_at_holds_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended(psutil.Process):
        def children(self, recursive: bool = False) -> list[psutil.Process]:
            raise psutil.NoSuchProcess(self.pid)

    monkeypatch.setattr(psutil, "Process", Ended)
    assert stack.rss(1) == stack.rss(0) == 0
