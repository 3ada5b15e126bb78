"""Without Docker: when a service that ended is started again."""

import errno
import json
import os
import time
from pathlib import Path

import pytest
from local_stack import start
from local_stack.start import Starts

NOW = 1000.0


def last(restarts: int, short_lives: int, seconds_ago: float) -> Starts:
    return {"restarts": restarts, "short_lives": short_lives, "at": NOW - seconds_ago}


@pytest.mark.parametrize(
    ("before", "after", "wait"),
    [
        (None, (0, 0), 0),
        (last(0, 0, 3600), (1, 0), 0),  # killed after an hour: back at once
        (last(8, 5, 30), (9, 0), 0),
        (last(0, 0, 1), (1, 1), 1),
        (last(1, 1, 1), (2, 2), 2),
        (last(4, 4, 29), (5, 5), 16),
        (last(6, 6, 0), (7, 7), 60),
        (last(5000, 5000, 0), (5001, 5001), 60),
        (last(0, 0, -600), (1, 1), 1),  # the clock was set back
    ],
)
def test_the_wait_before_a_start_grows_with_each_short_life(
    before: Starts | None, after: tuple[int, int], wait: float
) -> None:
    restarts, short_lives = after
    assert start.next_start(before, NOW) == {"restarts": restarts, "short_lives": short_lives, "at": NOW + wait}


@pytest.mark.parametrize("content", ["", "{", "[1]", "null"])
def test_a_damaged_file_counts_as_no_start(tmp_path: Path, content: str) -> None:
    (tmp_path / "one.starts").write_text(content)
    assert start.read_starts(tmp_path / "one.json") is None
    (tmp_path / "one.starts").write_text(json.dumps(last(1, 1, 1)))
    assert start.read_starts(tmp_path / "one.json") == last(1, 1, 1)


def test_on_a_full_disk_a_service_is_started_after_a_wait_and_its_starts_stay_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    description = tmp_path / "one.json"
    description.write_text(json.dumps({"command": ["program"], "folder": str(tmp_path), "environment": {}}))
    start.write_starts(description, last(8, 5, 30))
    done: list[object] = []
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setattr(time, "sleep", done.append)
    monkeypatch.setattr(os, "chdir", lambda _: None)
    monkeypatch.setattr(os, "execvpe", lambda *arguments: done.append(arguments))

    def full(path: Path, _: str) -> int:
        path.open("w").close()
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", full)
    start.main(description)
    assert done == [start.FULL_DISK_WAIT, ("program", ["program"], {})]
    assert start.read_starts(description) == last(8, 5, 30)
    assert "No space left on device" in capsys.readouterr().out
