"""Without Docker: when a service that ended is started again."""

import json
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
