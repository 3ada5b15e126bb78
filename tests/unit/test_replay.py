"""The replay as the user runs it: dry runs, mistakes and a full disk; and what is sent, once and in a loop."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from generator.replay.recording import Recording
from generator.replay.sending import Sending
from generator.run import Report
from generator.stop import Stop
from recordings import SCHEMA
from repository import ROOT, assert_one_sentence, run_script

COMMAND = [sys.executable, str(ROOT / "sensor-data-generator/producer.py")]
EXAMPLE = ROOT / "docs/recordings"


def replay(tmp_path: Path, file: Path | str, **settings: str) -> subprocess.CompletedProcess[str]:
    state_file = str(tmp_path / "state/generator.json")
    return run_script(COMMAND, {"REPLAY_FILE": str(file), "GENERATOR_STATE_FILE": state_file, **settings})


def recording(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "a.csv"
    path.write_text("".join(f"{row}\n" for row in ("time,entity,temp,humidity", *rows)))
    return path


def test_a_dry_run_shows_the_first_readings_and_what_is_not_mapped(tmp_path: Path) -> None:
    result = replay(
        tmp_path, EXAMPLE / "trucks.csv", REPLAY_MAP=str(EXAMPLE / "trucks.toml"), REPLAY_DRY_RUN="true"
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    shown = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(shown) == 10
    # 60.7 °F at 8 o'clock in Berlin
    first = {"time": "2026-09-14T06:00:00.000Z", "entity": "truck-12", "temp": 15.944444, "humidity": 47.0}
    assert {name: shown[0][name] for name in first} == first
    assert "not mapped: 1 row with a value of temp that is not a number: " in result.stderr
    assert result.stderr.splitlines()[-1].endswith("; nothing was sent")
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["generator.json.lock"]


def test_a_dry_run_shows_the_times_as_they_would_be_sent(tmp_path: Path) -> None:
    file = recording(tmp_path, "2026-07-01T10:00:00Z,7,1,2", "2026-07-01T11:00:00Z,7,1,2")
    result = replay(tmp_path, file, REPLAY_DRY_RUN="true", REPLAY_TIMES="ends now")
    assert result.returncode == 0, result.stderr
    first, last = (datetime.fromisoformat(json.loads(line)["time"]) for line in result.stdout.splitlines())
    assert last - first == timedelta(hours=1)
    assert timedelta(0) < datetime.now(UTC) - last < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("file", "settings", "sentence"),
    [
        ("none.csv", {}, "/none.csv does not exist: REPLAY_FILE must name a file, a folder or a pattern of files."),
        (
            "a.csv",
            {"REPLAY_MAP": "/nowhere.toml"},
            "The mapping /nowhere.toml can't be read: No such file or directory.",
        ),
        (
            "a.csv",
            {"REPLAY_TIMES": "starts now"},
            " s before that time, and the windows job rejects readings more than 10 s ahead of Kafka's clock: set"
            ' REPLAY_TIMES="ends now", or REPLAY_SPEED=1 with "starts now".',
        ),
        (
            "a.csv",
            {"REPLAY_TIMES": "now"},
            "REPLAY_TIMES (or replay_times) is 'now': it must be 'original', 'ends now' or 'starts now'.",
        ),
        (
            "a.csv",
            {"REPLAY_SPEED": "0.5"},
            "REPLAY_SPEED (or replay_speed) is '0.5': it must be 0 (as fast as possible), or a number of 1 (as"
            " recorded) or more.",
        ),
    ],
)
def test_a_mistake_ends_the_program_with_one_sentence_before_anything_is_sent(
    tmp_path: Path, file: str, settings: dict[str, str], sentence: str
) -> None:
    recording(tmp_path, "2026-07-01T10:00:00Z,7,1,2", "2026-07-01T11:00:00Z,7,1,2")
    result = replay(tmp_path, tmp_path / file, **settings)
    assert result.returncode == 2
    errors = [line for line in result.stderr.splitlines() if " INFO " not in line]
    assert_one_sentence(errors[0] + "\n")
    assert len(errors) == 1
    assert errors[0].endswith(sentence)


def test_a_recording_in_which_no_time_can_be_read_names_the_first_ones(tmp_path: Path) -> None:
    file = recording(tmp_path, "1782900000,7,1,2", "1782900001,7,1,2")
    result = replay(tmp_path, file)
    assert result.returncode == 2
    assert json.loads((tmp_path / "state/generator.json").read_text())["state"] == "failed"
    assert result.stderr.splitlines()[-1].endswith(
        f"{file} has no reading that can be sent: 2 rows with a time that can't be read: {file} line 2 ('1782900000');"
        f" {file} line 3 ('1782900001'). A mapping (REPLAY_MAP) names the columns, and the format and the zone of the"
        " times."
    )


def test_a_full_disk_ends_the_program_with_one_sentence(tmp_path: Path) -> None:
    rows = (f"2026-07-01T10:00:00Z,truck {number * 7919 % 100_003},1,2" for number in range(100_000))
    file = recording(tmp_path, *rows)
    # No file may have more than 200 KB, as if no more fitted on the disk.
    limited = ["sh", "-c", 'ulimit -f 400 && exec "$@"', "sh", *COMMAND]
    environment = {"REPLAY_FILE": str(file), "GENERATOR_STATE_FILE": str(tmp_path / "state/generator.json")}
    result = run_script(limited, {**environment, "REPLAY_DRY_RUN": "true"})
    assert result.returncode == 1
    sentence = result.stderr.splitlines()[-1]
    assert f"The recording can't be sorted in {tmp_path}/state/generator.sorting (" in sentence
    assert sentence.endswith("): free disk space there, or set GENERATOR_STATE_FILE to a path on a larger disk.")
    assert not (tmp_path / "state/generator.sorting").exists()


class Sent:
    """Takes records as Deliveries does."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, int]] = []
        self.sent = self.acknowledged = self.failed = 0
        self.last_error = None

    def send(self, records: list[tuple[bytes, bytes]], to: int) -> None:
        self.records += [(key.decode(), json.loads(value)["time"], to) for key, value in records]
        self.sent = len(self.records)

    def settle(self) -> None:
        self.acknowledged = self.sent


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Recording]:
    file = recording(tmp_path, "2026-07-01T10:00:01Z,8,1,2", "2026-07-01T10:00:00Z,7,1,2")
    found = Recording(str(file), "", SCHEMA, tmp_path / "sorting")
    yield found
    found.close()


def sending(opened: Recording, sent: Any, stop: Stop, **options: Any) -> Sending:
    settings = {"speed": 0.0, "loop": False, "seconds_ahead": 10, **options}
    return Sending(opened, opened.read(), deliveries=sent, stop=stop, on_progress=lambda _: None, **settings)


def test_all_records_go_to_one_partition_in_order_of_time(opened: Recording) -> None:
    sent = Sent()
    it = sending(opened, sent, Stop())
    it.send(shift=0)
    assert sent.records == [("7", "2026-07-01T10:00:00.000Z", 0), ("8", "2026-07-01T10:00:01.000Z", 0)]
    report = it.report()
    assert (report.iteration, report.sent, report.acknowledged, report.failed) == (1, 2, 2, 0)
    assert it.described(Report(1, 2.0, 1, 1, 0)) == "1 of 2 readings sent (50%), 0 readings/s, 2 s left"


def test_a_loop_goes_on_with_later_times_until_it_reaches_the_present(opened: Recording) -> None:
    sent = Sent()
    it = sending(opened, sent, Stop(), loop=True)
    seconds_until_now = 7
    now = time.time_ns() // 1000
    it.send(shift=now - it.summary.first - seconds_until_now * 1_000_000)
    # A pass takes the second of the recording, and one more; the last one ends less than 10 s ahead of now.
    assert [key for key, *_ in sent.records] == ["7", "8"] * (it.passes)
    assert it.passes in (9, 10)
    times = [moment for _, moment, _ in sent.records]
    assert times == sorted(set(times))


def test_a_stop_ends_a_replay_at_the_pace_of_the_recording(opened: Recording) -> None:
    sent, stop = Sent(), Stop()
    it = sending(opened, sent, stop, speed=1.0, loop=True)
    stop.wait = lambda _: stop.request()  # type: ignore[method-assign]
    it.send(shift=0)
    assert [key for key, *_ in sent.records] == ["7"]
