"""Without Docker: how far the data has come, and what `make run` waits for and shows."""

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from local_stack import manager, run
from local_stack.druid import Druid
from local_stack.errors import StackError, Unhealthy
from local_stack.kafka import Kafka
from local_stack.pipeline import Pipeline
from service import contract


class Answer:
    """Of Druid, to a query for a datasource that it doesn't know."""

    status_code, text = 400, "Object 'sensor-data-aggregated' not found (line [1], column [27])"

    def raise_for_status(self) -> None:
        raise requests.HTTPError("400")


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Pipeline:
    """After a minute of readings: the windows job has read all, no window is closed yet, Druid knows nothing."""
    monkeypatch.setattr(Kafka, "offsets", lambda *_: (0, 100))
    monkeypatch.setattr(requests, "post", lambda *_, **__: Answer())
    pipeline = Pipeline(Kafka("kafka.test"), Druid("http://127.0.0.1:1"), contract.topics(), tmp_path / "job.json")
    offsets = {"sensor-data-raw": {"0": 60, "1": 40}, "sensor-data-control": {"0": 0}}
    write(pipeline, batch=3, offsets=offsets, watermark="2026-11-24T10:00:00.000Z")
    return pipeline


def write(pipeline: Pipeline, **progress: Any) -> None:
    pipeline.job_state_file.write_text(json.dumps({"window_seconds": 60, "watermark_seconds": 180, **progress}))


def test_the_summary_needs_no_window_that_is_closed(
    data: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run.print_summary(data)
    output = capsys.readouterr().out
    assert "100  records in Kafka's topic sensor-data-raw\n" in output
    assert "rejected" not in output and "still open" not in output
    assert "console: http://localhost:1/unified-console.html" in output
    monkeypatch.setattr(Pipeline, "open_windows", lambda _: 200)
    monkeypatch.setattr(Pipeline, "rows", lambda _, role: 3 if role == "rejected" else 0)
    run.print_summary(data)
    output = capsys.readouterr().out
    assert "200  windows still open; they close by themselves 255 s after the last reading" in output
    assert "3  rejected records" in output


def test_a_job_without_a_state_file_is_unhealthy(data: Pipeline) -> None:
    data.job_state_file.unlink()
    with pytest.raises(Unhealthy, match="has not written its state yet"):
        data.job_state()


def test_a_job_without_readings_has_caught_up(data: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kafka, "offsets", lambda *_: (0, 0))
    write(data)
    assert data.job_has_caught_up()


def test_a_job_that_has_not_read_all_has_not_caught_up(data: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kafka, "offsets", lambda *_: (0, 107))
    assert data.job_lag(data.job_state()) == 7
    assert not data.job_has_caught_up()


@pytest.mark.parametrize(
    ("newest", "watermark", "caught_up"),
    [
        ("10:03:00.000", "10:00:00.000", True),
        ("10:03:59.999", "10:00:00.000", True),  # it moves minute by minute
        ("10:04:00.000", "10:00:00.000", False),
        ("10:04:00.000", "10:01:00.000", True),
        ("10:04:00.000", "10:02:00.000", True),  # a marker has moved it further
    ],
)
def test_a_job_has_caught_up_when_its_watermark_is_where_the_newest_reading_moves_it(
    data: Pipeline, monkeypatch: pytest.MonkeyPatch, newest: str, watermark: str, caught_up: bool
) -> None:
    write(data, offsets={"sensor-data-raw": {"0": 100}}, watermark=f"2026-11-24T{watermark}Z")
    millis = datetime.fromisoformat(f"2026-11-24T{newest}Z").timestamp() * 1000
    monkeypatch.setattr(Druid, "number", lambda *_: int(millis))
    assert data.job_has_caught_up() is caught_up


def clock(
    monkeypatch: pytest.MonkeyPatch, sleep: Callable[[float], None], monotonic: Callable[[], float] = time.monotonic
) -> None:
    """The time for run.py only: threads of Py4J, from other tests, sleep as well."""
    monkeypatch.setattr(run, "time", SimpleNamespace(sleep=sleep, monotonic=monotonic))


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The rows in Druid, by role, of 100 records and 40 windows in Kafka. The windows job has caught up."""
    rows = {"raw": 93, "rejected": 7, "aggregated": 40}
    monkeypatch.setattr(Pipeline, "rows", lambda _, role: rows[role])
    monkeypatch.setattr(Pipeline, "job_has_caught_up", lambda _: True)
    # One more, by the readings in Druid, has late readings only and so was never emitted.
    monkeypatch.setattr(Pipeline, "windows_emitted", lambda _: 40)
    return rows


def test_late_and_malformed_records_are_no_reason_to_wait(
    monkeypatch: pytest.MonkeyPatch, data: Pipeline, rows: dict[str, int]
) -> None:
    clock(monkeypatch, lambda _: pytest.fail("it waits"))
    assert run.wait_until_queryable(data, 0)


@pytest.mark.parametrize("missing", ["raw", "rejected", "aggregated"])
def test_what_is_not_yet_in_druid_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, data: Pipeline, rows: dict[str, int], missing: str
) -> None:
    rows[missing] -= 1
    waited = []

    def arrive(seconds: float) -> None:
        waited.append(seconds)
        rows[missing] += 1

    clock(monkeypatch, arrive)
    assert run.wait_until_queryable(data, 0)
    assert len(waited) == 1


def test_what_does_not_change_any_more_is_as_far_as_it_goes(
    monkeypatch: pytest.MonkeyPatch, data: Pipeline, rows: dict[str, int]
) -> None:
    now = [0.0]
    clock(monkeypatch, lambda seconds: now.__setitem__(0, now[0] + seconds), lambda: now[0])
    rows["raw"] = 1
    assert run.wait_until_queryable(data, 0)
    assert run.UNCHANGED_LIMIT < now[0] < run.CATCH_UP_LIMIT


def test_a_wait_ends_when_the_stack_is_stopped(monkeypatch: pytest.MonkeyPatch, data: Pipeline) -> None:
    def no_answer(*_: object) -> None:
        raise Unhealthy("no answer")

    monkeypatch.setattr(manager, "processes", dict)
    monkeypatch.setattr(Kafka, "offsets", no_answer)
    with pytest.raises(StackError, match="^The stack was stopped.$"):
        run.wait_until_queryable(data, 0)
