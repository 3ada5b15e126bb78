"""State files: what a service says about itself, for `make status`, health checks and tests."""

import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from service.files import write_whole


def write(path: Path, state: dict[str, Any]) -> None:
    """Write `state` with the process id and the time, atomically: a reader sees the old file or the new one.

    Creates the folder. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps({"pid": os.getpid(), "written_at": utc_now(), **state}))


def read(path: Path) -> dict[str, Any]:
    """What was written last. Raises OSError when there is no file, ValueError when it holds something else."""
    state = json.loads(path.read_text())
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds no JSON object")
    return state


def failure_file(state_file: Path) -> Path:
    """Where a service that has a state file writes what it has ended with."""
    return state_file.with_suffix(".failure.json")


def utc_now() -> str:
    """The present time in ISO 8601, UTC, milliseconds."""
    return iso_time(datetime.now(timezone.utc).timestamp())


def iso_time(seconds: float) -> str:
    """Seconds since the epoch in ISO 8601, UTC, milliseconds."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
