"""producer.py: its constants, its environment variables, and what it says when something is wrong."""

import re
import sys

import producer
import pytest
from rooms import ROOT, assert_one_sentence, run_script

COMMAND = [sys.executable, str(ROOT / "sensor-data-generator/producer.py")]


def test_the_defaults_make_well_over_30_000_records() -> None:
    iterations = producer.script_duration // producer.sensor_interval
    assert iterations * producer.num_entities > 30_000


def test_an_environment_variable_overrides_the_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    assert producer.number("NUM_ENTITIES", 200, minimum=1, whole=True) == 200
    monkeypatch.setenv("NUM_ENTITIES", "7")
    assert producer.number("NUM_ENTITIES", 200, minimum=1, whole=True) == 7
    monkeypatch.setenv("SENSOR_INTERVAL", "0.5")
    assert producer.number("SENSOR_INTERVAL", 5, minimum=0) == 0.5


SECONDS, WHOLE = "a number of seconds, 0 or more", "a whole number, 1 or more"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("NUM_ENTITIES", "0", WHOLE),
        ("NUM_ENTITIES", "-3", WHOLE),
        ("NUM_ENTITIES", "2.5", WHOLE),
        ("NUM_ENTITIES", "many", WHOLE),
        ("NUM_ENTITIES", "", WHOLE),
        ("SENSOR_INTERVAL", "-1", SECONDS),
        ("SENSOR_INTERVAL", "nan", SECONDS),
        ("SCRIPT_DURATION", "inf", SECONDS),
        ("SCRIPT_DURATION", "15 minutes", SECONDS),
        ("MAX_IN_FLIGHT", "0", WHOLE),
        ("NUM_PROCESSES", "0", WHOLE),
        ("LATE_SHARE", "1.1", "a share, 0 to 1"),
        ("OUT_OF_ORDER_SHARE", "-0.1", "a share, 0 to 1"),
        ("DUPLICATE_SHARE", "nan", "a share, 0 to 1"),
        ("MALFORMED_SHARE", "5%", "a share, 0 to 1"),
        ("LATE_BY", "-1", SECONDS),
        ("OUT_OF_ORDER_BY", "2 seconds", SECONDS),
        ("FAULT_SEED", "0.5", "a whole number, 0 or more"),
    ],
)
def test_a_wrong_value_ends_it_with_one_sentence(name: str, value: str, allowed: str) -> None:
    result = run_script(COMMAND, {name: value})
    assert result.returncode == 2
    assert_one_sentence(result.stderr)
    assert f"{name} (or {name.lower()}) is {value!r}: it must be {allowed}." in result.stderr


def test_shares_above_1_together_end_it_with_one_sentence() -> None:
    result = run_script(COMMAND, {"LATE_SHARE": "0.7", "MALFORMED_SHARE": "0.4"})
    assert result.returncode == 2
    assert_one_sentence(result.stderr)
    assert "LATE_SHARE, OUT_OF_ORDER_SHARE, DUPLICATE_SHARE, MALFORMED_SHARE together are 1.1" in result.stderr


def test_shares_of_1_together_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, share in (("LATE", "0.7"), ("OUT_OF_ORDER", "0.1"), ("DUPLICATE", "0.1"), ("MALFORMED", "0.1")):
        monkeypatch.setenv(f"{name}_SHARE", share)
    assert producer.faults_to_send(60)


def test_there_are_no_faults_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert producer.faults_to_send(60) is None
    monkeypatch.setenv("LATE_SHARE", "0.001")
    assert producer.faults_to_send(60)


def test_a_late_reading_is_late_for_the_windows_and_an_out_of_order_one_is_not() -> None:
    window, watermark = 60, 180  # the defaults in pyspark.py
    assert producer.late_by > window + watermark
    assert producer.out_of_order_by + producer.sensor_interval < watermark


def test_no_broker_ends_it_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(producer, "WAIT_FOR_KAFKA", 1)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    with pytest.raises(SystemExit) as ended:
        producer.main()
    assert re.search(r"No readings can be sent to sensor-data-raw at 127.0.0.1:1.*Check that Kafka", str(ended.value))


def test_times_are_iso_8601_utc_with_milliseconds() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", producer.now())


@pytest.mark.parametrize(
    ("moment", "interval", "left"),
    [
        (1000.0, 5, 5),
        (1000.004, 5, 4.996),
        (1002.0, 5, 3),
        (1004.9, 5, 0.1),
        (999.999, 5, 5.001),  # woken a little early: the iteration of 1000 is this one
        (1000.1, 0.25, 0.15),
        (1000.0, 0, 0),
        (1000.0, 1e-300, 0),
        (1000.0, 1e300, 1e300),
    ],
)
def test_the_next_iteration_is_due_at_a_whole_multiple_of_the_interval(
    moment: float, interval: float, left: float
) -> None:
    assert producer.until_next(moment, interval) == pytest.approx(left, abs=1e-9)
