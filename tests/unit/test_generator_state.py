"""The generator's state file: its content, the sums of earlier runs, and what happens when it can't be written."""

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from generator.run import Report
from generator.state import StateFile, claim


def content(path: Path) -> dict[str, Any]:
    """The file without its times, which are checked to be there."""
    state: dict[str, Any] = json.loads(path.read_text())
    assert state.pop("pid") == os.getpid()
    assert state.pop("written_at") >= state["run"].pop("started_at")
    return state


def run(**progress: Any) -> dict[str, Any]:
    """The "run" of a file, without what content() removes."""
    counts = dict.fromkeys(("elapsed_seconds", "iteration", "sent", "acknowledged", "failed"), 0)
    return {"duration_seconds": 900, **counts, "injected": None, "history": None, **progress}


def earlier(**sums: float) -> dict[str, Any]:
    """The "earlier_runs" of a file."""
    return {**dict.fromkeys(("runs", "elapsed_seconds", "sent", "acknowledged", "failed"), 0), **sums}


def test_it_follows_the_run(tmp_path: Path) -> None:
    path = tmp_path / "folder/state.json"
    state_file = StateFile(path, 900)
    nothing_sent = {"run": run(), "earlier_runs": earlier()}
    assert content(path) == {"state": "connecting", **nothing_sent}
    state_file.update("sending")
    assert content(path) == {"state": "sending", **nothing_sent}
    state_file.update("sending", Report(2, 5.25, 40, 30, 1, {"late": 3}))
    assert content(path) == {
        "state": "sending",
        "run": run(elapsed_seconds=5.25, iteration=2, sent=40, acknowledged=30, failed=1, injected={"late": 3}),
        "earlier_runs": earlier(),
    }
    state_file.update("stopped")  # keeps the last report
    assert content(path)["state"] == "stopped"
    assert content(path)["run"]["sent"] == 40


def test_a_start_adds_the_run_before_it_to_the_earlier_runs(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    StateFile(path, 900).update("finished", Report(2, 5.5, 40, 39, 1))
    StateFile(path, 900).update("sending", Report(3, 10, 60, 50, 0))  # killed
    StateFile(path, 900)
    assert content(path) == {
        "state": "connecting",
        "run": run(),
        "earlier_runs": earlier(runs=2, elapsed_seconds=15.5, sent=100, acknowledged=89, failed=1),
    }


@pytest.mark.parametrize("damaged", ["", "{", "[]", "{}", '{"run": 1, "earlier_runs": {"runs": 1}}'])
def test_a_damaged_file_is_replaced_with_a_warning(
    damaged: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.json"
    path.write_text(damaged)
    StateFile(path, 900)
    assert content(path)["earlier_runs"] == earlier()
    [warning] = caplog.records
    assert warning.levelno == logging.WARNING
    assert warning.getMessage() == f"The state file {path} is damaged: its earlier runs are not counted."


def test_it_must_be_writable_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        StateFile(tmp_path / "file/state.json", 900)


def test_a_failure_during_the_run_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "folder"
    state_file = StateFile(folder / "state.json", 900)
    (folder / "state.json").unlink()
    folder.rmdir()
    folder.touch()
    state_file.update("sending", Report(1, 1, 1, 1, 0))
    state_file.update("finished", Report(2, 2, 2, 2, 0))
    [message] = caplog.messages
    assert message.startswith(f"The state file {folder / 'state.json'} is no longer up to date: ")


def test_generators_that_share_a_folder_have_a_file_each_and_the_same_one_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "folder/generator.json"
    first, second = claim(path), claim(path)
    assert [first.path, second.path] == [path, path.with_name("generator-2.json")]
    assert first.id != second.id
    first.lock.close()  # as at the end of the process
    again, third = claim(path), claim(path)
    assert (again.path, again.id) == (first.path, first.id)
    assert third.path == path.with_name("generator-3.json")
    for instance in (again, second, third):
        instance.lock.close()


def test_the_place_of_a_killed_generator_is_taken_before_that_of_one_that_has_left(tmp_path: Path) -> None:
    path = tmp_path / "generator.json"
    first, second, third = claim(path), claim(path), claim(path)
    first.forget_id()
    for instance in (first, second, third):  # as at the end of the processes
        instance.lock.close()
    found = [claim(path) for _ in range(4)]
    assert [instance.id for instance in found[:2]] == [second.id, third.id]
    assert [instance.path for instance in found[2:]] == [path, tmp_path / "generator-4.json"]
    assert first.id not in {instance.id for instance in found}
    for instance in found:
        instance.lock.close()


def test_a_copy_of_the_folder_is_another_generator(tmp_path: Path) -> None:
    first = claim(tmp_path / "one/generator.json")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    second = claim(tmp_path / "two/generator.json")
    assert first.id != second.id
    for instance in (first, second):
        instance.lock.close()
