"""producer.py and the generator's main program: settings, state, messages and exit codes."""

import json
import logging
import re
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import producer
import pytest
from generator import main
from generator.fleet import WHOLE, Share
from generator.history import Progress
from generator.run import Report
from generator.settings import Settings, checked
from generator.state import StateFile
from generator.stop import Stop
from kafka.errors import KafkaError
from repository import ROOT, assert_one_sentence, run_script, windows_job_script
from service.settings import BadSetting, milliseconds

COMMAND = [sys.executable, str(ROOT / "sensor-data-generator/producer.py")]


def constants(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What producer.py passes to the generator."""
    passed: list[Settings] = []
    with monkeypatch.context() as patch:
        patch.setattr(producer, "run_generator", lambda constants: passed.append(constants) or 0)
        assert producer.main() == 0
    return passed[0]


def test_every_constant_is_passed_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name for name, value in vars(producer).items() if isinstance(value, int | float | str) and name[0] != "_"]
    for number, name in enumerate(names):
        monkeypatch.setattr(producer, name, number)
    assert vars(constants(monkeypatch)) == {name: number for number, name in enumerate(names)}


def test_the_readme_has_every_setting() -> None:
    readme = (ROOT / "sensor-data-generator/README.md").read_text()
    table = readme.split("## Settings")[1].split("## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [field.name for field in fields(Settings)]


def test_the_defaults_send_well_over_30_000_records() -> None:
    iterations = producer.script_duration // producer.sensor_interval
    assert iterations * producer.num_entities > 30_000


def test_a_late_reading_is_late_for_the_windows_and_an_out_of_order_one_is_not() -> None:
    job = windows_job_script()
    window, watermark = (milliseconds(each) / 1000 for each in (job.window_duration, job.watermark_duration))
    assert producer.late_by > window + watermark, (
        "late_by in producer.py must be more than window_duration plus watermark_duration in pyspark.py"
    )
    assert producer.out_of_order_by + producer.sensor_interval < watermark, (
        "out_of_order_by plus sensor_interval in producer.py must be less than watermark_duration in pyspark.py"
    )


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("NUM_ENTITIES", "0", "a whole number, 1 or more"),
        ("SENSOR_INTERVAL", "-1", "a number of seconds, 0 or more"),
        ("SCRIPT_DURATION", "15 minutes", "a number of seconds, 0 or more"),
        ("KAFKA_BOOTSTRAP_SERVERS", "", 'one or more addresses, as in "localhost:9092", separated by commas'),
        ("KAFKA_RAW_TOPIC", "", "a text that is not empty"),
        ("KAFKA_RUNS_TOPIC", "", "a text that is not empty"),
        ("KAFKA_GENERATOR_GROUP_ID", "", "a text that is not empty"),
        ("KAFKA_PROGRESS_TOPIC", "", "a text that is not empty"),
        (
            "HISTORY",
            "a month",
            'a whole number above 0 and a unit (second, minute, hour or day), as in "90 seconds" or "1 minute",'
            " or empty",
        ),
        ("MAX_IN_FLIGHT", "0", "a whole number, 1 or more"),
        ("NUM_PROCESSES", "0", "a whole number, 1 or more"),
        ("LATE_SHARE", "1.1", "a share, 0 to 1"),
        ("OUT_OF_ORDER_SHARE", "-0.1", "a share, 0 to 1"),
        ("DUPLICATE_SHARE", "nan", "a share, 0 to 1"),
        ("MALFORMED_SHARE", "5%", "a share, 0 to 1"),
        ("LATE_BY", "-1", "a number of seconds, 0 or more"),
        ("OUT_OF_ORDER_BY", "2 seconds", "a number of seconds, 0 or more"),
        ("FAULT_SEED", "0.5", "a whole number, 0 or more"),
        ("REPLAY_TIMES", "now", "'original', 'ends now' or 'starts now'"),
        ("REPLAY_SPEED", "0.5", "0 (as fast as possible), or a number of 1 (as recorded) or more"),
        ("REPLAY_LOOP", "1", "true or false"),
        ("REPLAY_DRY_RUN", "yes", "true or false"),
        ("GENERATOR_STATE_FILE", " ", "a text that is not empty"),
    ],
)
def test_a_bad_setting_is_refused(name: str, value: str, allowed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadSetting) as raised:
        checked(constants(monkeypatch), {name: value})
    assert str(raised.value) == f"{name} (or {name.lower()}) is {value!r}: it must be {allowed}."


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"NUM_ENTITIES": "many"}, "NUM_ENTITIES (or num_entities) is 'many': it must be a whole number, 1 or more."),
        (
            {"LATE_SHARE": "0.7", "MALFORMED_SHARE": "0.4"},
            "LATE_SHARE, OUT_OF_ORDER_SHARE, DUPLICATE_SHARE, MALFORMED_SHARE together are 1.1:"
            " they must be 1 or less.",
        ),
        (
            {"HISTORY": "30 days", "SENSOR_INTERVAL": "0"},
            "SENSOR_INTERVAL is 0: with HISTORY, it must be above 0.",
        ),
        (
            {"HISTORY": "30 days", "NUM_PROCESSES": "2"},
            "NUM_PROCESSES is 2: with HISTORY, it must be 1, as one process sends the history.",
        ),
    ],
)
def test_a_bad_setting_ends_the_program_with_one_sentence(environment: dict[str, str], sentence: str) -> None:
    result = run_script(COMMAND, environment)
    assert result.returncode == 2
    assert_one_sentence(result.stderr)
    assert result.stderr.endswith(f" ERROR sensorgenerator: {sentence}\n")


def test_shares_whose_sum_is_1_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = {"LATE_SHARE": "0.7", "OUT_OF_ORDER_SHARE": "0.1", "DUPLICATE_SHARE": "0.1", "MALFORMED_SHARE": "0.1"}
    assert checked(constants(monkeypatch), shares).shares == (0.7, 0.1, 0.1, 0.1)


@pytest.mark.parametrize(
    ("history", "seconds"), [("", 0), (" ", 0), ("30 days", 2_592_000), ("1 hour", 3600), ("90 seconds", 90)]
)
def test_a_history_is_a_duration_or_none(history: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checked(constants(monkeypatch), {"HISTORY": history}).history_seconds == seconds
    assert checked(constants(monkeypatch), {}).history_seconds == 0


def test_there_are_no_faults_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(checked(constants(monkeypatch), {}).shares)


def test_there_are_no_more_processes_than_vehicles(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = checked(constants(monkeypatch), {"NUM_ENTITIES": "2", "NUM_PROCESSES": "3"})
    assert settings.processes == 2


def test_a_state_file_that_cannot_be_written_ends_the_program_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = str(tmp_path / "file/generator.json")
    result = run_script(COMMAND, {"GENERATOR_STATE_FILE": path})
    assert result.returncode == 1
    assert_one_sentence(result.stderr)
    assert f"The state file {path} can't be written: Not a directory. Set GENERATOR_STATE_FILE " in result.stderr


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
    settings, log = constants(monkeypatch), SimpleNamespace(update=lambda _report: None)
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
