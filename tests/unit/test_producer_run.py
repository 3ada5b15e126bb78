"""How a run of producer.py ends: its exit code, its state file and its log."""

import json
import logging
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import generator_run
import producer
import pytest
from generator import main
from generator.fleet import WHOLE, Share
from generator.history import Progress
from generator.run import Report
from generator.state import StateFile
from generator.stop import Stop
from kafka.errors import KafkaError


@pytest.fixture
def state_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Path:
    """The path of the state file of a run in this process, whose log goes to caplog."""
    monkeypatch.setattr(main.log, "configure", lambda _service: None)
    monkeypatch.setattr(Stop, "listen", lambda _self: None)
    caplog.set_level(logging.INFO, "generator")
    path = tmp_path / "generator.json"
    monkeypatch.setenv("GENERATOR_STATE_FILE", str(path))
    return path


def state(path: Path) -> tuple[str, int, int, int]:
    content = json.loads(path.read_text())
    run = content["run"]
    return content["state"], run["sent"], run["acknowledged"], run["failed"]


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("generator") and record.levelno >= logging.ERROR
    ]


def test_without_kafka_the_run_fails_with_one_error(
    state_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(main, "WAIT_FOR_KAFKA", 1)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("KAFKA_RAW_TOPIC", "readings")
    assert producer.main() == 1
    [error] = errors(caplog)
    assert re.search(r"No readings can be sent to readings at 127.0.0.1:1: .*\. Check that Kafka", error)
    assert state(state_file) == ("failed", 0, 0, 0)


def test_ctrl_c_while_connecting_ends_the_run(state_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        assert state(state_file)[0] == "connecting"
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "connect", interrupted)
    assert producer.main() == 130
    assert state(state_file) == ("stopped", 0, 0, 0)


class Alone:
    """Stands in for Member, without other generators."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def take_first(self) -> Share:
        return WHOLE

    def take(self, _stopping: Any) -> None:
        pass

    def is_over(self) -> bool:
        return False

    def give_back(self) -> None:
        pass

    leave = give_back


RUN = {
    "NUM_ENTITIES": "20",
    "SENSOR_INTERVAL": "5",
    "SCRIPT_DURATION": "60",
    "KAFKA_BOOTSTRAP_SERVERS": "kafka.test:1",
    "KAFKA_RAW_TOPIC": "readings",
    "NUM_PROCESSES": "3",
}
RunUntil = Callable[..., tuple[int, str]]


@pytest.fixture
def run_until(state_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> RunUntil:
    """A run in three processes that ends as given; its exit code and its last state."""
    logged: list[Any] = []
    ended: list[bool] = []
    received: list[Stop] = []  # the one that handles signals

    class Member(Alone):
        def __init__(self, *arguments: Any, fleet: str, instance: str) -> None:
            super().__init__(*arguments)
            assert arguments[1:] == (producer.kafka_generator_group_id, producer.kafka_runs_topic)
            lock = state_file.with_name(f"{state_file.name}.lock")
            assert (fleet, instance) == ("readings", lock.read_text().split()[1])

        def give_back(self) -> None:
            assert ended

    class Log:
        """Stands in for RunLog."""

        def __init__(self, _producer: Any, topic: str) -> None:
            assert topic == producer.kafka_runs_topic

        def update(self, report: Report) -> None:
            logged.append(report)

        def close(self, state: str, report: Report) -> None:
            logged.append((state, report))

    def listen(stop: Stop) -> None:
        received.append(stop)

    def run(end: Report, died: Sequence[int] = (), signum: int | None = None) -> tuple[int, str]:
        def send(_settings: Any, part: main.Part, stop: Stop, on_progress: Any) -> tuple[Report, Any]:
            assert (part.share, part.last) == (WHOLE, {1: 7})
            assert state(state_file) == ("sending", 0, 0, 0)
            on_progress(Report(1, 1, 20, 19, 0))
            assert state(state_file) == ("sending", 20, 19, 0)
            if signum:
                received[0].request(signum)
            ended.append(True)
            return end, died

        monkeypatch.setattr(main, "connect", lambda *_: None)
        monkeypatch.setattr(Stop, "listen", listen)
        monkeypatch.setattr(main, "RunLog", Log)
        monkeypatch.setattr(main, "Member", Member)
        monkeypatch.setattr(main, "last_seq", lambda *_: {1: 7})
        monkeypatch.setattr(main, "_send", send)
        for name, value in RUN.items():
            monkeypatch.setenv(name, value)
        code = producer.main()
        assert caplog.messages[:3] == [
            "connecting to Kafka at kafka.test:1, for up to 120 s",
            "20 vehicles send to readings every 5 s for 60 s, in 3 processes",
            "iteration 1: 20 sent, 19 acknowledged, 0 failed, 1 of 60 s",
        ]
        ending, *counts = state(state_file)
        assert logged == [Report(), Report(1, 1, 20, 19, 0), (ending, end)]
        assert counts == [end.sent, end.acknowledged, end.failed]
        return code, ending

    return run


def test_a_run_that_delivers_everything_is_finished(run_until: RunUntil, caplog: pytest.LogCaptureFixture) -> None:
    assert run_until(Report(2, 5, 40, 40, 0)) == (0, "finished")
    assert caplog.messages[3:] == ["finished: 40 sent, 40 acknowledged, 0 failed"]


def test_the_injected_faults_are_logged_at_the_end(run_until: RunUntil, caplog: pytest.LogCaptureFixture) -> None:
    assert run_until(Report(2, 5, 40, 40, 0, {"late": 3})) == (0, "finished")
    assert caplog.messages[3:] == ["injected faults: {'late': 3}", "finished: 40 sent, 40 acknowledged, 0 failed"]


def test_the_progress_of_a_history_is_logged(
    state_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings, log = generator_run.settings(), SimpleNamespace(update=lambda _report: None)
    file = StateFile(state_file, 900)
    for progress in (Progress("", unread=1234), Progress("2026-11-25T10:00:00.000Z", 180_000, 95)):
        main._on_progress(settings, file, log, Report(0, 0, 20, 19, 0, history=progress))  # type: ignore[arg-type]
    assert caplog.messages == [
        "history: 20 sent, 19 acknowledged, 0 failed; waits for the windows job, which has 1,234 records left to read",
        "history up to 2026-11-25T10:00:00.000Z: 20 sent, 19 acknowledged, 0 failed; 180,000 readings/s, 95 s left",
    ]
    assert json.loads(state_file.read_text())["run"]["history"] == {
        "reached": "2026-11-25T10:00:00.000Z", "readings_per_second": 180_000, "seconds_left": 95, "unread": None
    }  # fmt: skip


def test_a_signal_stops_a_run(run_until: RunUntil, caplog: pytest.LogCaptureFixture) -> None:
    assert run_until(Report(2, 5, 40, 40, 0), signum=signal.SIGTERM) == (0, "stopped")
    assert caplog.messages[3:] == ["stopped by SIGTERM: 40 sent, 40 acknowledged, 0 failed"]


def test_records_that_are_not_delivered_fail_a_run(run_until: RunUntil, caplog: pytest.LogCaptureFixture) -> None:
    assert run_until(Report(2, 5, 40, 38, 2, None, "timed out"), died=[1]) == (1, "failed")
    assert caplog.messages[3] == "finished: 40 sent, 38 acknowledged, 2 failed"
    assert errors(caplog) == ["2 records were not delivered. The last error: timed out"]


def test_a_process_that_died_fails_a_run(run_until: RunUntil, caplog: pytest.LogCaptureFixture) -> None:
    assert run_until(Report(2, 5, 40, 40, 0), died=[1]) == (1, "failed")
    assert errors(caplog) == ["1 of 3 processes died, see the warnings above"]


@pytest.mark.parametrize("fails_in", ["connect", "last_seq"])
def test_any_error_of_kafka_while_connecting_fails_the_run(
    fails_in: str, state_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise KafkaError("there is no topic sensor-data-raw")

    monkeypatch.setattr(main, "connect", lambda *_: None)
    monkeypatch.setattr(main, "RunLog", lambda *_: None)
    monkeypatch.setattr(main, "Member", Alone)
    monkeypatch.setattr(main, fails_in, fail)
    assert producer.main() == 1
    assert "there is no topic sensor-data-raw" in errors(caplog)[0]
    assert state(state_file)[0] == "failed"
