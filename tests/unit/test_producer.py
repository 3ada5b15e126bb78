"""producer.py and the generator's main program: settings, state, messages and exit codes."""

import re
import sys
from dataclasses import fields
from pathlib import Path

import producer
import pytest
from generator.settings import Settings, checked
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
        ("SIGNALS", "", "a text that is not empty"),
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
