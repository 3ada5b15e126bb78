"""The generator's state file: the progress of its run and the sums of its earlier runs."""

import logging
from pathlib import Path
from typing import Any

from service import state

from generator.run import Report

logger = logging.getLogger(__name__)

SUMMED = "elapsed_seconds", "sent", "acknowledged", "failed"


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
