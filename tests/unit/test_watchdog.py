"""The watchdog: what it takes for hanging."""

import logging
import threading

import pytest
from windows_job import watchdog
from windows_job.watchdog import Watchdog


@pytest.mark.parametrize(
    ("now", "reason"),
    [(100.0, None), (160.0, None), (160.1, "Spark's process has not answered for 60 s")],
)
def test_a_job_that_reports_nothing_hangs(now: float, reason: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: 100.0)
    dog = Watchdog(lambda: None)
    dog.report()
    assert dog._why_it_hangs(now) == reason


def test_a_batch_that_never_ends_hangs_though_the_job_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: clock[0])
    dog = Watchdog(lambda: None)
    dog.batch_begins()
    clock[0] = 1001
    dog.report()
    assert dog._why_it_hangs(1000) is None
    assert dog._why_it_hangs(1001) == "a batch has taken more than 900 s"
    dog.batch_ends()
    assert dog._why_it_hangs(1001) is None


def test_a_job_that_hangs_is_ended_and_the_reason_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watchdog, "INTERVAL", 0.01)
    ended = threading.Event()
    with caplog.at_level(logging.ERROR):
        Watchdog(ended.set, report_limit=0.05).start()
        assert ended.wait(timeout=10)
    assert "The windows job hangs: Spark's process has not answered for 0.05 s" in caplog.text
