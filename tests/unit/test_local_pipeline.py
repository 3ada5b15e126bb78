"""Without Docker: how far the data has come, and what `make run` waits for and shows."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from local_stack import manager, run
from local_stack.druid import Druid, without_login
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
    monkeypatch.setattr(requests.Session, "request", lambda *_, **__: Answer())
    pipeline = Pipeline(
        Kafka("kafka.test"), Druid(without_login("http://127.0.0.1:1")), contract.topics(), tmp_path / "job.json"
    )
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
    monkeypatch.setattr(Pipeline, "rows", lambda _, role: {"rejected": 3, "late": 2}.get(role, 0))
    run.print_summary(data)
    output = capsys.readouterr().out
    assert "200  windows still open; they close by themselves 255 s after the last reading" in output
    assert "3  rejected records" in output and "2  late readings" in output


def test_a_job_without_a_state_file_is_unhealthy(data: Pipeline) -> None:
    data.job_state_file.unlink()
    with pytest.raises(Unhealthy, match="has not written its state yet"):
        data.job_state()


TOTALS = {"records": 100, "windows": 40, "rejected": 7, "late": 2}
READ = {"offsets": {"sensor-data-raw": {"0": 100}}, "totals": TOTALS}


def test_a_job_without_readings_has_nothing_left_to_do(data: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kafka, "offsets", lambda *_: (0, 0))
    write(data)
    assert data.job_totals() == dict.fromkeys(TOTALS, 0)


def test_the_totals_are_known_when_all_is_read_and_no_batch_follows(
    data: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing = {"watermark": "2026-11-24T10:00:00.000Z", "next_watermark": "2026-11-24T10:01:00.000Z"}
    write(data, **READ, **closing)
    assert data.job_totals() is None
    write(data, **READ, **closing | {"watermark": closing["next_watermark"]})
    assert data.job_totals() == TOTALS
    monkeypatch.setattr(Kafka, "offsets", lambda *_: (0, 107))
    assert data.job_lag(data.job_state()) == 7
    assert data.job_totals() is None


def clock(
    monkeypatch: pytest.MonkeyPatch, sleep: Callable[[float], None], monotonic: Callable[[], float] = time.monotonic
) -> None:
    """The time for run.py only: threads of Py4J, from other tests, sleep as well."""
    monkeypatch.setattr(run, "time", SimpleNamespace(sleep=sleep, monotonic=monotonic))


@pytest.fixture
def rows(data: Pipeline, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The rows in Druid, by role, of the windows job's TOTALS."""
    rows = {"raw": 93, "rejected": 7, "aggregated": 40, "late": 2}
    monkeypatch.setattr(Pipeline, "rows", lambda _, role: rows[role])
    write(data, **READ)
    return rows


def test_late_and_malformed_records_are_no_reason_to_wait(
    monkeypatch: pytest.MonkeyPatch, data: Pipeline, rows: dict[str, int]
) -> None:
    clock(monkeypatch, lambda _: pytest.fail("it waits"))
    assert run.wait_until_queryable(data, 0)


@pytest.mark.parametrize("missing", ["raw", "rejected", "aggregated", "late"])
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

    for name in ("processes", "members"):
        monkeypatch.setattr(manager, name, dict)
    monkeypatch.setattr(Kafka, "offsets", no_answer)
    with pytest.raises(StackError, match="^The stack is not running"):
        run.wait_until_queryable(data, 0)
