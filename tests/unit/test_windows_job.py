"""pyspark.py: that it starts from everywhere, and how it reports its end. What it computes is in tests/integration."""

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
from generator.fleet import Fleet
from records import FORM, form
from repository import ROOT, assert_one_sentence, job_settings, run_script, windows_job_script
from service import contract, state
from windows_job import failure, main, query, spark
from windows_job.reading import Form

SCRIPT = str(ROOT / "pyspark/pyspark.py")


@pytest.mark.parametrize("folder", [ROOT, ROOT / "pyspark", Path("/")])
def test_it_starts_from_any_folder_and_names_a_wrong_setting(folder: Path) -> None:
    """A wrong setting is found after all imports: so PySpark was found, and not this file in its place."""
    result = run_script([sys.executable, SCRIPT], {"WINDOW_DURATION": "soon", "PYTHONPATH": ""}, folder)
    assert result.returncode == 2
    assert_one_sentence(result.stderr)
    assert result.stderr.endswith(
        " ERROR pyspark: WINDOW_DURATION (or window_duration) is 'soon': it must be a whole number above 0 and a unit"
        ' (second, minute, hour or day), as in "90 seconds" or "1 minute".\n'
    )


@pytest.mark.parametrize(
    ("code", "words"), [(3, "Set SPARK_DRIVER_MEMORY .* higher"), (-9, "Spark's process exited with -9")]
)
def test_the_end_of_sparks_process_is_named(
    code: int, words: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ending = f"import os; os.kill(os.getpid(), {-code})" if code < 0 else f"raise SystemExit({code})"
    process = subprocess.Popen([sys.executable, "-c", ending])

    def lost(*_: object) -> None:
        raise ConnectionRefusedError("Connection refused")

    monkeypatch.setattr(main, "run", lost)
    monkeypatch.setattr(main.log, "configure", lambda _: None)
    monkeypatch.setattr(spark, "spark_process", lambda: process)
    with caplog.at_level(logging.ERROR), pytest.raises(SystemExit, match="1"):
        main.main(windows_job_script().aggregations, job_settings())
    [record] = caplog.records
    assert re.search(words, record.getMessage())


def test_what_the_job_ends_with_is_in_a_file_beside_the_state_file_until_the_job_reports_again(tmp_path: Path) -> None:
    state_file = tmp_path / "windows-job.json"
    environment = {"WINDOW_DURATION": "soon", "WINDOWS_JOB_STATE_FILE": str(state_file)}
    said = run_script([sys.executable, SCRIPT], environment).stderr
    failed = state.read(state.failure_file(state_file))
    assert said.strip().endswith(f" ERROR pyspark: {failed['sentence']}")
    assert failed["exit_code"] == 2
    assert not state_file.exists()  # its age is the health check
    failure.remove(state_file)
    assert not list(tmp_path.iterdir())
    failure.remove(state_file)


@pytest.mark.parametrize("path", ["", "/"])
def test_a_state_file_that_is_not_allowed_leaves_the_sentence_and_the_exit_code(path: str) -> None:
    result = run_script([sys.executable, SCRIPT], {"WINDOW_DURATION": "soon", "WINDOWS_JOB_STATE_FILE": path})
    assert result.returncode == 2
    assert_one_sentence(result.stderr)


def test_a_failure_that_can_not_be_written_is_in_the_log_only(tmp_path: Path) -> None:
    failure.write(str(tmp_path / "missing/windows-job.json"), "It ends.", 1)
    assert not list(tmp_path.iterdir())
    state.failure_file(tmp_path / "windows-job.json").mkdir()
    failure.write(str(tmp_path / "windows-job.json"), "It ends.", 1)
    assert [path.is_dir() for path in tmp_path.iterdir()] == [True]


def test_the_innermost_java_cause_is_the_message() -> None:
    error = Exception("o123.start\norg.apache.X: outer\n\tat a.b\nCaused by: java.io.IOException: disk full\n\tat c.d")
    assert spark.first_line(error) == "java.io.IOException: disk full"
    assert spark.why_spark_ended(error, []) == "ended: java.io.IOException: disk full"
    assert spark.why_spark_ended(Exception("the sink's error, with a traceback"), [error]) == (
        "could not write a batch (Exception: java.io.IOException: disk full)."
    )


def test_the_form_of_a_plain_record_is_this_regular_expression() -> None:
    """Literally, since its form decides how fast Java matches it."""
    assert FORM.plain_pattern == (
        r'^\{"time":"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{3}Z"'
        r',"entity":(?:[1-9][0-9]{0,17}+|"(?!-?[0-9]{1,19}")[ !#-+\x2D-\x5B\x5D-~]{1,256}+")'
        r',"temp":-?[1-9]?[0-9][.][0-9]{1,9}+'
        r',"humidity":(?:0|[1-9][0-9]{0,2})[.][0-9]{1,9}+'
        r',"seq":[1-9][0-9]{0,17}+'
        r',"vin":"[0-9A-Z]*+"\}\z'
    )
    assert dict(FORM.fields) == {
        "time": "STRING", "entity": "STRING", "temp": "DOUBLE", "humidity": "DOUBLE", "seq": "BIGINT",
    }  # fmt: skip
    assert FORM.marker() == {"entity": "", "temp": -50, "humidity": 0}


def test_the_generator_writes_the_plain_form() -> None:
    plain = Form.of(contract.topics()["raw"].schema).plain_pattern.replace(r"\z", r"\Z")
    for _, value in Fleet(100).records("2026-11-25T10:00:00.000Z"):
        assert re.match(plain, value.decode())


def test_another_signal_has_its_place_behind_the_other_signals() -> None:
    with_speed = form("speed")
    assert list(with_speed.plain) == ["time", "entity", "temp", "humidity", "speed", "seq", "vin"]
    assert with_speed.plain["speed"] == r'"speed":(?:0|[1-9][0-9]{0,2})[.][0-9]{1,9}+'


def test_a_signal_that_the_generator_does_not_send_by_default_is_no_part_of_a_plain_record() -> None:
    with_speed = form("speed", default=False)
    assert with_speed.names == ("time", "entity", "temp", "humidity", "speed", "seq", "vin")
    assert with_speed.fields["speed"] == "DOUBLE"
    assert with_speed.plain_pattern == FORM.plain_pattern
    assert with_speed.marker() == FORM.marker()
    assert form("speed", default=False, required=True).marker()["speed"] == 0


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], [("0", -2, 9), ("1", 4, 6)]),
        ([(0, 1, 60), (0, 3, 40), (1, 5, 90)], [("0", -2, 9), ("1", 4, 6)]),
        ([(0, 1, 60), (0, 3, 41), (0, 8, 59)], [("0", -2, 3), ("0", 3, 9), ("1", 4, 6)]),
        ([(0, 1, 500), (0, 2, 500), (1, 4, 500)], [("0", -2, 2), ("0", 2, 9), ("1", 4, 6)]),
    ],
)
def test_rejected_records_are_read_in_parts_of_a_limited_size(
    sizes: list[tuple[int, int, int]], expected: list[tuple[str, int, int]]
) -> None:
    assert list(query.parts(sizes, {"0": (-2, 9), "1": (4, 6)}, 100)) == expected
