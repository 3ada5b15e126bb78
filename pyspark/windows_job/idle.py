"""Idle detection, which closes the last windows.

When no reading on time comes any more, the watermark stands still and Spark never emits them. The job then sends a
marker to a topic of its own, which the same query reads and which moves the watermark on. The raw topic stays as it is,
and a repeated batch reads the same marker at the same offset.
"""


class IdleTimer:
    """Detects that nothing has happened for `timeout` seconds."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._activity: object = None
        self._since: float | None = None

    def is_idle(self, activity: object, now: float) -> bool:
        """Whether `activity`, which changes when something happens, has been the same for at least the timeout.

        `now` is in seconds, by any clock.
        """
        if self._since is None or activity != self._activity:
            self._activity, self._since = activity, now
        return now - self._since >= self._timeout

    def restart(self, now: float) -> None:
        """Wait for the timeout once more: a marker takes time to have its effect."""
        self._since = now


def newest_window_end(newest: int, window: int) -> int:
    """The end of the window of the newest reading, 0 before the first; all in milliseconds.

    No window is open when the watermark has reached it.
    """
    return newest // window * window + window if newest else 0


def watermark_to_reach(newest: int, watermark: int, window: int, delay: int, now: int) -> int | None:
    """The watermark that closes the windows still open in an idle period; None where no window is open.

    `newest` is the newest event time so far, `watermark` the present one, `window` and `delay` the window and the
    watermark duration; all in milliseconds. It is the end of the newest reading's window, but never beyond where a
    reading of this moment would move it: so no reading that comes in time after the idle period is late because of it.
    """
    end = newest_window_end(newest, window)
    if end <= watermark:
        return None
    # To the end of a window: whatever the watermark's steps are, it reaches these.
    return min(end, (now - delay) // window * window)
