"""Idle detection: when no reading comes any more, the watermark stands still and Spark never emits the last windows.

The job then sends a marker to a topic of its own, which the same query reads and which moves the watermark on. The raw
topic stays as it is, and a repeated batch reads the same marker at the same offset.
"""

from typing import Any

Offsets = dict[str, int]  # by partition
Marker = dict[str, Any]  # schemas/sensor-data-control.schema.json


class IdleTimer:
    """Detects that the raw topic has been idle for `timeout` seconds."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._offsets: Offsets | None = None
        self._since = 0.0

    def is_idle(self, offsets: Offsets, now: float) -> bool:
        """Whether `offsets`, up to which the job has read, have been the same for at least the timeout.

        `now` is in seconds, by any clock.
        """
        if offsets != self._offsets:
            self._offsets, self._since = offsets, now
        return now - self._since >= self._timeout

    def restart(self, now: float) -> None:
        """Wait for the timeout once more: a marker takes time to have its effect."""
        self._since = now


def marker(token: dict[str, Any], offsets: Offsets, reached: int, last: Marker | None, now: int) -> Marker | None:
    """The marker that closes the windows still open in an idle period, None where there is nothing to close.

    `token` is the last batch's progress token, `offsets` the raw topic's end offsets, `reached` the watermark of the
    next batch, `last` the newest marker so far; times in milliseconds. The marker moves the watermark to the end of the
    last reading's window, but never beyond where a reading of this moment would move it: so no reading that comes in
    time after the idle period is late because of the marker.
    """
    if reached <= 0:  # no reading has come yet
        return None
    if last and last["closes"] == offsets:  # it was sent; a crash may have come between it and its windows
        return None if token["watermark"] >= last["watermark"] else last
    window, delay = token["window_seconds"] * 1000, token["watermark_seconds"] * 1000
    # To the end of a window: whatever the watermark's steps are, it reaches these.
    return {"closes": offsets, "watermark": min(reached + delay + window, now - delay) // window * window}
