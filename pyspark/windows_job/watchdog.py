"""Ends the job when it hangs, so that it is restarted: Spark's process may be stopped, or a call may never return."""

import logging
import os
import threading
import time
from collections.abc import Callable

REPORT_LIMIT = 60  # seconds between two reports of the job, which come every second
BATCH_LIMIT = 900  # seconds that a batch may take; the largest take about a minute
INTERVAL = 1.0  # seconds between two looks

logger = logging.getLogger(__name__)


class Watchdog:
    """Looks at the job from a thread of its own. Times are of time.monotonic()."""

    def __init__(
        self, end: Callable[[], None], report_limit: float = REPORT_LIMIT, batch_limit: float = BATCH_LIMIT
    ) -> None:
        """`end` is called once when the job hangs, and should not return."""
        self._end = end
        self._report_limit = report_limit
        self._batch_limit = batch_limit
        self._reported = time.monotonic()
        self._batch_since: float | None = None

    def start(self) -> None:
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def report(self) -> None:
        """The job goes on."""
        self._reported = time.monotonic()

    def batch_begins(self) -> None:
        self._batch_since = time.monotonic()

    def batch_ends(self) -> None:
        self._batch_since = None

    def _watch(self) -> None:
        while True:
            time.sleep(INTERVAL)
            if reason := self._why_it_hangs(time.monotonic()):
                logger.error("The windows job hangs: %s. It ends now; the next start resumes from here.", reason)
                self._end()
                return

    def _why_it_hangs(self, now: float) -> str | None:
        since = self._batch_since
        if now - self._reported > self._report_limit:
            return f"Spark's process has not answered for {self._report_limit:g} s"
        if since is not None and now - since > self._batch_limit:
            return f"a batch has taken more than {self._batch_limit:g} s"
        return None


def end_at_once(kill_spark: Callable[[], None]) -> None:
    """End this process and Spark's without waiting for either, as both may hang."""
    kill_spark()
    logging.shutdown()
    os._exit(1)
