"""When the records of a recording are sent, and whether the windows job takes them. Pure: no Kafka, no clock.

Times of readings are in microseconds since the epoch.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter

from service.state import iso_time

from generator.fleet import Record
from generator.replay.errors import BadRecording
from generator.replay.recording import Row

ORIGINAL, ENDS_NOW, STARTS_NOW = "original", "ends now", "starts now"
BETWEEN_PASSES = 1_000_000  # from the last time of a pass of a loop to the first time of the next one
WAIT = 0.2  # seconds until it is looked again whether a record is due

_time_of = itemgetter(0)


def shift(times: str, first: int, last: int, now: int) -> int:
    """What is added to all times of a recording."""
    return {ORIGINAL: 0, ENDS_NOW: now - last, STARTS_NOW: now - first}[times]


def check_not_ahead(first: int, last: int, speed: float, now: int, allowed: int) -> None:
    """Raises BadRecording if a record would be more than `allowed` seconds ahead of the clock when it is sent."""
    sent = now + ((last - first) / speed if speed else 0)
    ahead = max(first - now, last - sent) / 1e6
    if ahead > allowed:
        raise BadRecording(
            f"The recording has times in the future: its last reading, of {iso_time(last / 1e6)}, would be sent"
            f" {ahead:,.0f} s before that time, and the windows job rejects readings more than {allowed} s ahead of"
            ' Kafka\'s clock: set REPLAY_TIMES="ends now", or REPLAY_SPEED=1 with "starts now".'
        )


def check_not_late(first: int, open_from: float) -> None:
    """Raises BadRecording if the window of the first reading is closed; `open_from` is in seconds since the epoch."""
    if first < open_from * 1e6:
        raise BadRecording(
            f"The readings from {iso_time(first / 1e6)} on would be late: the windows job has closed all windows that"
            f' end by {iso_time(open_from)}. Shift the times (REPLAY_TIMES="starts now" with REPLAY_SPEED=1), or'
            " remove the stack's data first (`make reset`)."
        )


def due(
    blocks: Iterable[list[Row]], first: int, speed: float, elapsed: Callable[[], float], wait: Callable[[float], None]
) -> Iterator[list[Record]]:
    """The records, some at a time, when they are due: at `first` when elapsed() is 0 s, and then `speed` times as fast
    as they were recorded; 0 is as fast as possible. A list is empty while nothing is due."""
    for block in blocks:
        if not speed:
            yield [(key, value) for _, key, value in block]
            continue
        sent = 0
        while sent < len(block):
            now = first + elapsed() * speed * 1e6
            until = bisect_right(block, now, lo=sent, key=_time_of)
            if until == sent:
                wait(min(WAIT, (block[sent][0] - now) / speed / 1e6))
            yield [(key, value) for _, key, value in block[sent:until]]
            sent = until
