"""State files: what a service says about itself, for `make status`, health checks and tests."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def write(path: Path, state: dict[str, Any]) -> None:
    """Write `state` with the process id and the time, atomically: a reader sees the old file or the new one.

    Creates the folder. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"pid": os.getpid(), "written_at": utc_now(), **state}))
    new.replace(path)


def read(path: Path) -> dict[str, Any]:
    """What was written last. Raises OSError when there is no file, ValueError when it holds something else."""
    state = json.loads(path.read_text())
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds no JSON object")
    return state


def utc_now() -> str:
    """The present time in ISO 8601, UTC, milliseconds."""
    return iso_time(datetime.now(UTC).timestamp())


def iso_time(seconds: float) -> str:
    """Seconds since the epoch in ISO 8601, UTC, milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
