"""The counts of windows: as the windows job has emitted them, and as the readings of the raw topic add up."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from reconciliation.json_values import UNREADABLE, millis, vehicle
from reconciliation.result import UNREAD, Cut, Place, Window

_EMPTY: dict[str, int] = {}


class Compared(NamedTuple):
    """The counts that are not verified; windows with the count that was expected, or with (expected, emitted)."""

    emitted: int  # readings of emitted windows
    open: int  # readings of windows that are still open
    missing: dict[Window, int]
    wrong: dict[Window, tuple[int, int]]


class Windows:
    """The windows that are not verified yet. Each is verified when it was emitted with the count of its readings."""

    def __init__(self) -> None:
        # By length, start and vehicle
        self.counts: dict[int, dict[int, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
        self._emitted: dict[int, dict[int, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
        self.rows = self.readings_in_rows = 0  # of the aggregated topic up to the cut
        self.duplicates: dict[Window, int] = {}
        self.later: dict[Window, int] = {}  # emitted by later batches
        self.malformed: list[Place] = []  # in the aggregated topic
        self.again: list[Place] = []
        self._cut = self._verified = UNREAD

    def go_on(self, cut: Cut) -> Counter[int]:
        """Judge up to this cut from now on; the readings that are verified up to the one before, by window start."""
        self._verified, self._cut = self._cut, cut
        self.later.clear()
        settled: Counter[int] = Counter()
        for length, starts in self.counts.items():
            for start in [start for start in starts if start + length <= self._verified.watermark]:
                counts, emitted = starts[start], self._emitted[length][start]
                right = [entity for entity, count in counts.items() if emitted.get(entity) == count]
                settled[start] += sum(counts.pop(entity) for entity in right)
                for entity in right:
                    del emitted[entity]
        for table in (self.counts, self._emitted):
            for starts in table.values():
                for start in [start for start, counts in starts.items() if not counts]:
                    del starts[start]
        return settled

    def add(self, partition: int, offset: int, value: bytes | None) -> bool:
        """Add a record of the aggregated topic, from this place in it; False if a later batch has written it."""
        try:
            row = json.loads(value or b"")
            start, end, count = millis(row["window_start"]), millis(row["window_end"]), int(row["count"])
            entity = vehicle(row["entity"])
        except UNREADABLE:
            self.malformed.append((partition, offset))
            return True
        if end > self._cut.watermark:
            self.later[Window(start, end, entity)] = count
            return False
        self.rows += 1
        self.readings_in_rows += count
        emitted = self._emitted[end - start][start]
        if entity in emitted:
            self.duplicates[Window(start, end, entity)] = count
        elif end <= self._verified.watermark and entity not in self.counts[end - start][start]:
            self.again.append((partition, offset))
        else:
            emitted[entity] = count
        return True

    def compared(self) -> Compared:
        emitted_readings = open_readings = 0
        missing: dict[Window, int] = {}
        wrong: dict[Window, tuple[int, int]] = {}
        for window, count in self._counted():
            emitted = self._emitted.get(window.end - window.start, {}).get(window.start, _EMPTY).get(window.entity)
            if window.end > self._cut.watermark:
                open_readings += count
            elif emitted is None:
                missing[window] = count
            else:
                emitted_readings += count
                if emitted != count:
                    wrong[window] = (count, emitted)
        return Compared(emitted_readings, open_readings, missing, wrong)

    def _counted(self) -> Iterator[tuple[Window, int]]:
        for length, starts in self.counts.items():
            for start, counts in starts.items():
                for entity, count in counts.items():
                    yield Window(start, start + length, entity), count

    def without_readings(self) -> dict[Window, int]:
        return {
            Window(start, start + length, entity): count
            for length, starts in self._emitted.items()
            for start, counts in starts.items()
            for entity, count in counts.items()
            if entity not in self.counts.get(length, {}).get(start, _EMPTY)
        }

    def recent(self, up_to: float = math.inf) -> Counter[int]:
        """Readings of windows that start at the boundary or later and end at `up_to` or before, by window start."""
        found: Counter[int] = Counter()
        for length, starts in self.counts.items():
            for start, counts in starts.items():
                if start >= self._cut.boundary and start + length <= up_to:
                    found[start] += sum(counts.values())
        return found

    def readings(self) -> int:
        return sum(sum(counts.values()) for starts in self.counts.values() for counts in starts.values())

    def still_open(self) -> list[tuple[int, int, dict[str, int]]]:
        """The windows that end above the watermark: length, start and counts."""
        return [
            (length, start, counts)
            for length, starts in self.counts.items()
            for start, counts in starts.items()
            if start + length > self._cut.watermark
        ]
