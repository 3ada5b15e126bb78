"""The last windows: when no reading comes any more, the watermark stands still and Spark would never emit them.

A marker on a topic of its own, read by the same query, moves the watermark on. The raw topic stays as it is, and a
repeated batch reads the same marker at the same offset.
"""

from typing import Any

Offsets = dict[str, int]  # by partition
Marker = dict[str, Any]  # closes: the Offsets it was sent for; watermark: where it puts it, in milliseconds


class Silence:
    """Notices when nothing new has come for a while."""

    def __init__(self, patience: float) -> None:
        self._patience = patience  # seconds
        self._offsets: Offsets | None = None
        self._since = 0.0

    def lasts(self, offsets: Offsets, now: float) -> bool:
        """Whether `offsets`, up to which the raw topic was read, are the same for long enough now; `now` in seconds."""
        if offsets != self._offsets:
            self._offsets, self._since = offsets, now
        return now - self._since >= self._patience

    def begin_again(self, now: float) -> None:
        """Wait as long once more: what was done about the silence takes its time."""
        self._since = now


def marker(token: dict[str, Any], offsets: Offsets, reached: int, last: Marker | None, now: int) -> Marker | None:
    """The marker that closes the windows still open after a silence, None where there is nothing to close.

    `token` is of the last batch (see sink.py), `offsets` is where the raw topic ends, `reached` the watermark of the
    next batch, `last` the newest marker there is; times in milliseconds. The watermark goes to the end of the last
    reading's window, but never beyond where a reading of this moment would put it: so no reading that comes in time
    after the silence is late because of the marker.
    """
    if reached <= 0:  # no reading has come yet
        return None
    if last and last["closes"] == offsets:  # sent already; but a crash may have come between it and the windows
        return None if token["watermark"] >= last["watermark"] else last
    window, delay = token["window_seconds"] * 1000, token["watermark_seconds"] * 1000
    # To the end of a window: the watermark moves by steps, and reaches these in any case.
    return {"closes": offsets, "watermark": min(reached + delay + window, now - delay) // window * window}
