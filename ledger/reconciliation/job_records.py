"""The rejected and the late topic: each record tells what became of one record of the raw topic."""

import json
import sys
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from typing import Any, Generic, TypeVar

from reconciliation.json_values import UNREADABLE, millis, vehicle
from reconciliation.result import UNREAD, Cut, Place, Window

LISTED_LATE = 10_000  # windows with late readings that are counted one by one

T = TypeVar("T")


class JobRecords(ABC, Generic[T]):
    """What a topic tells about records of the raw topic, until these come."""

    def __init__(self) -> None:
        self.expected: dict[int, dict[int, T]] = defaultdict(dict)  # by partition and offset of the raw topic
        self.rows = 0  # up to the cut
        self.twice: list[Place] = []
        self.later: list[Place] = []  # written by later batches
        self.malformed: list[Place] = []  # in the topic itself
        self.again: list[Place] = []
        self._cut = self._verified = UNREAD

    def go_on(self, cut: Cut) -> None:
        """Judge up to this cut from now on."""
        self._verified, self._cut = self._cut, cut
        self.later.clear()

    def add(self, partition: int, offset: int, value: bytes | None) -> bool:
        """Add a record from this place in the topic; False if a later batch has written it."""
        at = partition, offset
        try:
            row = json.loads(value or b"")
            place, told = (int(row["partition"]), int(row["offset"])), self._read(row)
        except UNREADABLE:
            self.malformed.append(at)
            return True
        partition, offset = place
        if offset >= self._cut.offsets.get(partition, 0):
            self.later.append(place)
            return False
        self.rows += 1
        if offset in self.expected[partition]:
            self.twice.append(place)
        elif offset >= self._verified.offsets.get(partition, 0):
            self.expected[partition][offset] = told
        elif not self._is_missing(place, told):
            self.again.append(at)
        return True

    @abstractmethod
    def _read(self, row: Any) -> T:
        """What a record tells. Raises what is in UNREADABLE."""

    @abstractmethod
    def _is_missing(self, place: Place, told: T) -> bool:
        """Whether this was missing when the record of the raw topic came, so that it is explained now."""


class Rejected(JobRecords[str]):
    """The reasons of rejections."""

    def __init__(self) -> None:
        super().__init__()
        self.reasons: Counter[str] = Counter()
        self.unexplained: dict[Place, None] = {}  # invalid records that were not rejected

    def _read(self, row: Any) -> str:
        return sys.intern(str(row["reason"]))  # few reasons, many records

    def _is_missing(self, place: Place, told: str) -> bool:
        if place not in self.unexplained:
            return False
        del self.unexplained[place]
        self.reasons[told] += 1
        return True

    def restore(self, place: Place, reason: str) -> None:
        """Add a record that retention has removed from Kafka."""
        partition, offset = place
        self.expected[partition].setdefault(offset, sys.intern(reason))


class Late(JobRecords[tuple[Window, int]]):
    """The windows of late readings, and the watermarks that had closed them."""

    def __init__(self) -> None:
        super().__init__()
        self.windows: Counter[Window] = Counter()
        self.more = 0  # late readings of windows that are not listed
        self.missing: dict[Place, tuple[Window, int]] = {}
        self.wrong: list[Place] = []

    def go_on(self, cut: Cut) -> None:
        super().go_on(cut)
        if len(self.windows) > 2 * LISTED_LATE:
            before = self.windows.total()
            self.windows = Counter(dict(self.windows.most_common(LISTED_LATE)))
            self.more += before - self.windows.total()

    def _read(self, row: Any) -> tuple[Window, int]:
        start, end, watermark = (millis(row[name]) for name in ("window_start", "window_end", "watermark"))
        return Window(start, end, vehicle(row["entity"])), watermark

    def _is_missing(self, place: Place, told: tuple[Window, int]) -> bool:
        if place not in self.missing:
            return False
        if self.missing.pop(place) != told:
            self.wrong.append(place)
        return True

    def count(self, place: Place, window: Window, watermark: int) -> None:
        """Count a late reading of the raw topic and compare it with its record."""
        self.windows[window] += 1
        partition, offset = place
        told = self.expected[partition].pop(offset, None)  # those that stay are not late
        if told is None:
            self.missing[place] = window, watermark
        elif told != (window, watermark):
            self.wrong.append(place)

    def readings(self) -> int:
        return self.windows.total() + self.more
