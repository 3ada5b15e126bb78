"""Readings of the past, sent as fast as possible before the live ones: a simulated clock that runs up to the present.

All of them go to one partition, in the order of their times. Kafka keeps the order within a partition only, so of two
partitions that are read at different speeds, one would move the watermark over what is unread in the other. For the
same reason, live readings wait until the windows job has read the history. See docs/decisions/0110 to 0114.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, field
from typing import NamedTuple

from kafka.errors import KafkaError
from service.state import iso_time

from generator.delivery import Deliveries
from generator.fleet import Fleet, Record
from generator.job import Token, WindowsJob
from generator.sequence import Last
from generator.stop import Stop

PARTITION = 0  # of the raw topic
BLOCK = 5000  # readings, about, from one look at the clock to the next
SENDING_INTERVAL = 1  # seconds from one report to the next while readings are sent, at least
WAITING_INTERVAL = 5  # and while the windows job reads
ASK_INTERVAL = 0.5  # seconds from one question about the windows job to the next
TOLERANCE = 0.0005  # seconds: divisions are not exact, and times are in milliseconds
WAIT_FOR_PROGRESS = 600  # seconds in which the windows job must have read something

logger = logging.getLogger(__name__)


class HistoryError(Exception):
    """The history can't be sent, or live readings can't follow it; the text says why and what to do."""


class Progress(NamedTuple):
    """How far a history is."""

    reached: str  # the time up to which it is sent, ISO 8601; empty before the first reading
    readings_per_second: int = 0  # while it is sent
    seconds_left: int = 0  # until all of it is sent
    unread: int | None = None  # records that the windows job has yet to read, while the history waits for that

    def __str__(self) -> str:
        if self.unread is not None:
            return f"waits for the windows job, which has {self.unread:,} records left to read"
        return f"{self.readings_per_second:,} readings/s, {self.seconds_left} s left"


OnProgress = Callable[[Progress], None]


@dataclass
class History:
    """The history of one run; `last_readings` asks Kafka for what the topic has of each vehicle."""

    seconds: float  # how far it goes back
    interval: float  # seconds from one reading of a vehicle to the next, above 0
    fleet: Fleet
    deliveries: Deliveries
    job: WindowsJob
    last_readings: Callable[[], dict[int, Last]]
    stop: Stop
    _last: dict[int, Last] = field(default_factory=dict)
    _reached: str = ""

    def send(self, on_progress: OnProgress) -> float | None:
        """Send all readings up to the present; return when the first live ones are due, in seconds since the epoch.

        None if a stop was requested, or if records were not delivered. Raises HistoryError, and KafkaError.
        """
        with self.job:
            tick = self._send_and_await(on_progress)
        if tick is None:
            return None
        return self._send_until_now(tick, on_progress) * self.interval  # the time of the last questions, too

    def _send_and_await(self, on_progress: OnProgress) -> int | None:
        """Send all readings up to the present, and wait until live ones may follow; return the next tick.

        None as for send().
        """
        # Only then is it known which windows are closed.
        self._await_job(on_progress)
        if self.stop.is_requested():
            return None
        tick, caught_up = self._first_tick(), math.inf
        while True:
            first, behind = tick, time.time() - tick * self.interval
            tick = self._send_until_now(first, on_progress)
            self.deliveries.await_results()
            if self.stop.is_requested() or self.deliveries.failed:
                return None
            # What is unread now is not older than half the watermark duration. Whichever partition is read first, and
            # as long as live readings are not read for the other half, none of it is late.
            if tick == first or ((token := self.job.token()) and behind <= token["watermark_seconds"] / 2):
                return tick
            if time.monotonic() - caught_up >= WAIT_FOR_PROGRESS:
                raise HistoryError(
                    f"For {WAIT_FOR_PROGRESS} s, the windows job has been more than half its watermark duration behind:"
                    " live readings might be late. Raise WATERMARK_DURATION (or watermark_duration in pyspark.py)."
                )
            self._await_job(on_progress)
            caught_up = min(caught_up, time.monotonic())
            if self.stop.is_requested():
                return None

    def _first_tick(self) -> int:
        """The first multiple of the interval at which a vehicle has a reading."""
        wanted = begin = time.time() - self.seconds
        self._last = self.last_readings()
        sent = [last.time if (last := self._last.get(vehicle.entity)) else 0 for vehicle in self.fleet.vehicles]
        why = ""
        if min(sent) / 1000 > begin:
            begin, why = min(sent) / 1000, "the topic has the readings of this fleet up to then"
        if (token := self.job.token()) and (open_from := first_open_window(token)) > begin:
            begin, why = open_from, "the windows job has closed the windows before it"
        if why:
            logger.warning(
                "The history begins at %s instead of %s: %s. Only `make reset` (or docker compose down --volumes)"
                " removes the data, for a longer history.",
                iso_time(begin), iso_time(wanted), why,
            )  # fmt: skip
        return math.ceil((begin - TOLERANCE) / self.interval)

    def _send_until_now(self, first: int, on_progress: OnProgress) -> int:
        """Send the readings from the tick `first` to the present; return the next tick."""
        start = reported = time.monotonic()
        sent_before, tick = self.deliveries.sent, first
        at_once = max(1, BLOCK // max(1, len(self.fleet.vehicles)))
        while not self.stop.is_requested() and not self.deliveries.failed:
            now = time.time()
            end = min(tick + at_once, math.floor((now + TOLERANCE) / self.interval) + 1)
            if end <= tick:
                break
            self.deliveries.send(self._records(tick, end), to=PARTITION)
            tick, self._reached = end, iso_time((end - 1) * self.interval)
            self.deliveries.settle()
            if (passed := time.monotonic()) - reported >= SENDING_INTERVAL:
                reported, took = passed, passed - start
                left = (now / self.interval - tick) * took / (tick - first)
                rate = (self.deliveries.sent - sent_before) / took
                on_progress(Progress(self._reached, round(rate), round(left)))
        return tick

    def _records(self, first: int, end: int) -> Iterator[Record]:
        """The readings from the tick `first` to `end`, exclusive, without those that the topic has already."""
        sent = {entity: last.time for entity, last in self._last.items()}
        newest = max(sent.values(), default=0)
        for tick in range(first, end):
            at, due = tick * self.interval, self.fleet
            if round(at * 1000) <= newest:
                # A generator that is killed leaves an iteration of which some vehicles are missing.
                due = copy(self.fleet)
                due.vehicles = [each for each in due.vehicles if round(at * 1000) > sent.get(each.entity, 0)]
            yield from due.records(iso_time(at))

    def _await_job(self, on_progress: OnProgress) -> None:
        """Wait until the windows job has read what the raw topic has now, or until a stop is requested."""
        ends = self.job.ends()
        moved, reported = time.monotonic(), -math.inf
        before = unread = self.job.unread(ends)
        while unread and not self.stop.is_requested():
            now = time.monotonic()
            if unread != before:
                before, moved = unread, now
            if now - moved >= WAIT_FOR_PROGRESS:
                raise HistoryError(
                    f"The windows job has read nothing for {WAIT_FOR_PROGRESS} s and has {unread:,} records of the raw"
                    " topic left: live readings would make the history late. Check that the job runs (`make doctor`),"
                    " and start the generator again: the history goes on where it was."
                )
            if now - reported >= WAITING_INTERVAL:
                reported = now
                on_progress(Progress(self._reached, unread=unread))
            self.stop.wait(ASK_INTERVAL)
            try:
                unread = self.job.unread(ends)
            except KafkaError as error:
                if not error.retriable:
                    raise
                logger.debug("Kafka doesn't say what the windows job has read: %s", error)


def first_open_window(token: Token) -> float:
    """The start of the first window that the batch of a progress token, and the one after it, leave open.

    In seconds since the epoch. The next batch has the watermark that the newest reading sets.
    """
    window, delay = token["window_seconds"] * 1000, token["watermark_seconds"] * 1000
    return int(max(token["watermark"], token["newest"] - delay) // window * window) / 1000
