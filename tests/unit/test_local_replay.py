"""Without Docker: `make replay`."""

import json
import subprocess
import sys
from pathlib import Path

from local_stack.services import replay
from repository import ROOT

COMMAND = [sys.executable, "-E", str(ROOT / "local/stack.py"), "replay"]


def run(folder: Path, stack: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "STACK_DIR": str(stack), **variables}
    return subprocess.run(COMMAND, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_a_dry_run_needs_no_stack_and_takes_paths_relative_to_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text('[time]\nformat = "seconds"\n')
    (tmp_path / "a.csv").write_text("time,entity,temp,humidity\n1782900000,7,1,2\n")
    result = run(tmp_path, tmp_path / "stack", FILE="*.csv", MAP="map.toml", REPLAY_DRY_RUN="true")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {
        "time": "2026-07-01T10:00:00.000Z",
        "entity": "7",
        "temp": 1.0,
        "humidity": 2.0,
    }
    assert (tmp_path / "stack/stack.lock").exists()  # so `make up` takes the folder for its own


def test_without_a_recording_or_a_running_stack_it_says_what_to_do(tmp_path: Path) -> None:
    result = run(tmp_path, tmp_path / "stack")
    assert (result.returncode, result.stderr) == (
        2, "There is no recording to replay: name it, as in `make replay FILE=recordings/trip.csv`.\n",
    )  # fmt: skip
    result = run(tmp_path, tmp_path / "stack", FILE="a.csv")
    assert (result.returncode, result.stderr) == (1, "The stack is not running: `make up` starts it.\n")
    assert not (tmp_path / "stack").exists()


def test_the_exit_code_is_that_of_the_script(tmp_path: Path) -> None:
    result = run(tmp_path, tmp_path / "stack", FILE="none.csv", REPLAY_DRY_RUN="true")
    assert result.returncode == 2
    assert result.stderr.endswith(f" {tmp_path}/none.csv does not exist: REPLAY_FILE must name a file, a folder or a"
                                  " pattern of files.\n")  # fmt: skip


def test_the_script_is_the_generators_with_all_of_its_settings() -> None:
    row = replay({"REPLAY_FILE": "/a.csv", "KAFKA_RAW_TOPIC": "mine"})
    assert row.command[1] == str(ROOT / "sensor-data-generator/producer.py")
    assert row.variables["REPLAY_FILE"] == "/a.csv"
    assert row.variables["KAFKA_RAW_TOPIC"] == "mine"
    assert Path(row.variables["GENERATOR_STATE_FILE"]).name == "replay.json"
