"""The generator's state file: the progress of its run and the sums of its earlier runs."""

import errno
import fcntl
import logging
import os
import uuid
from collections.abc import Iterator
from itertools import chain, count, takewhile
from pathlib import Path
from typing import IO, Any, NamedTuple

from service import state

from generator.run import Report

logger = logging.getLogger(__name__)

SUMMED = "elapsed_seconds", "sent", "acknowledged", "failed"


class Instance(NamedTuple):
    """What this generator alone uses while it runs."""

    path: Path  # of its state file
    id: str  # in the group of generators
    lock: IO[str]  # holds the id; open, and so locked, until the process ends

    def forget_id(self) -> None:
        """To be called when the group was left."""
        self.lock.truncate(0)


def claim(path: Path) -> Instance:
    """The state file at `path`, or with a number in its name if others that share the folder have those before.

    If a generator was killed, and so has not left the group, the next one takes its place. Raises OSError when the
    folder can't be used.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:  # and it is a file
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None

    def numbered() -> Iterator[Path]:
        return (path if number == 1 else path.with_stem(f"{path.stem}-{number}") for number in count(1))

    used = takewhile(lambda own: _lock_of(own).exists(), numbered())
    killed = [own for own in used if _lock_of(own).stat().st_size]  # or it runs
    for own in chain(killed, numbered()):
        lock = _lock_of(own).open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return Instance(own, _id(lock), lock)
    raise AssertionError("the numbers have no end")


def _lock_of(state_file: Path) -> Path:
    return state_file.with_name(f"{state_file.name}.lock")


def _id(lock: IO[str]) -> str:
    """The id in a locked file, or a new one. A copy of the file, which has another inode, doesn't count."""
    inode = str(Path(lock.name).stat().st_ino)
    lock.seek(0)
    words = lock.read().split()
    if len(words) == 2 and words[0] == inode:
        return words[1]
    new = str(uuid.uuid4())
    lock.truncate(0)
    lock.write(f"{inode} {new}\n")
    lock.flush()
    return new


class StateFile:
    """Written by the main process only. See README.md for its content."""

    def __init__(self, path: Path, duration: float) -> None:
        """Create the file, or add its run to its earlier runs. Raises OSError when it can't be read or written."""
        self._path = path
        self._started_at = state.utc_now()
        self._duration = duration
        self._earlier_runs = _earlier_runs(path)
        self._report = Report()
        self._has_failed = False
        self._write("connecting")

    def update(self, progress: str, report: Report | None = None) -> None:
        """Write the new state, with the last report where there is no new one.

        A failure is logged, but only once: the readings matter more than this file.
        """
        self._report = report or self._report
        try:
            self._write(progress)
        except OSError as error:
            if not self._has_failed:
                logger.warning("The state file %s is no longer up to date: %s", self._path, error.strerror or error)
            self._has_failed = True

    def _write(self, progress: str) -> None:
        report = self._report
        run = {
            "started_at": self._started_at,
            "duration_seconds": self._duration,
            "elapsed_seconds": round(report.elapsed, 3),
            "iteration": report.iteration,
            "sent": report.sent,
            "acknowledged": report.acknowledged,
            "failed": report.failed,
            "injected": report.injected,
            "history": report.history._asdict() if report.history else None,
        }
        state.write(self._path, {"state": progress, "run": run, "earlier_runs": self._earlier_runs})


def _earlier_runs(path: Path) -> dict[str, Any]:
    """The sums of the runs that the file at `path` knows, its last one included."""
    none: dict[str, Any] = {"runs": 0, **dict.fromkeys(SUMMED, 0)}
    try:
        found = state.read(path)
        run, earlier = found["run"], found["earlier_runs"]
        return {"runs": earlier["runs"] + 1, **{name: earlier[name] + run[name] for name in SUMMED}}
    except FileNotFoundError:
        return none
    except (ValueError, KeyError, TypeError):
        logger.warning("The state file %s is damaged: its earlier runs are not counted.", path)
        return none
