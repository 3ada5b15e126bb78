"""Starts one service. The process manager runs this script, which becomes the service. Standard library only.

A service that ends soon after each start waits longer before each new one. The number of restarts is in a file beside
the service's description: `make status` shows it.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

SHORT_LIFE = 30  # seconds; a service that ends sooner has not started
LONGEST_WAIT = 60  # seconds
FULL_DISK_WAIT = 10  # seconds, while the number of starts can't be written

Starts = dict[str, Any]  # restarts: int; short_lives: how many in a row; at: seconds since the epoch


def next_start(before: Starts | None, now: float) -> Starts:
    """What follows the start `before`, None for the first one, when the service has to be started again at `now`."""
    if before is None:
        return {"restarts": 0, "short_lives": 0, "at": now}
    short_lives = before["short_lives"] + 1 if now - before["at"] < SHORT_LIFE else 0
    wait = min(2 ** (short_lives - 1), LONGEST_WAIT) if short_lives else 0
    return {"restarts": before["restarts"] + 1, "short_lives": short_lives, "at": now + wait}


def starts_file(description: Path) -> Path:
    return description.with_suffix(".starts")


def read_starts(description: Path) -> Starts | None:
    """The last start of the service; None before the first one."""
    try:
        starts = json.loads(starts_file(description).read_text())
    except (OSError, ValueError):
        return None
    return starts if isinstance(starts, dict) else None


def write_starts(description: Path, starts: Starts) -> None:
    """Keep the last start of the service. Raises OSError; then the one before is kept."""
    new = starts_file(description).with_suffix(".starts.new")
    new.write_text(json.dumps(starts))
    new.replace(starts_file(description))


def main(description: Path) -> None:
    service = json.loads(description.read_text())
    start = next_start(read_starts(description), time.time())
    try:
        write_starts(description, start)
    except OSError as error:
        start["at"] = time.time() + FULL_DISK_WAIT
        print(f"{error}. The service is started in {FULL_DISK_WAIT} s: free some space on the disk.", flush=True)
    time.sleep(max(0.0, start["at"] - time.time()))
    os.chdir(service["folder"])
    os.execvpe(service["command"][0], service["command"], service["environment"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
