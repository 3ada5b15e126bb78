"""What the live cases make of what they observe: no clock, no Kafka, no Druid."""

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

Row = dict[str, Any]
Latencies = list[tuple[float, int]]  # milliseconds, and how many rows had that


class Arrival(NamedTuple):
    """Rows of one time that an answer held for the first time. Times in milliseconds since the epoch."""

    time: int
    answered: float
    rows: int


class Arrivals:
    """When the rows of each time came, from polls of how many there are. `expected` of them make a time complete.

    That the rows of a time come before those of a later one, as they do in a partition, lets a poll leave out all that
    is complete.
    """

    def __init__(self, expected: int, start: int) -> None:
        self._expected = expected
        self._start = start
        self._counts: dict[int, int] = {}
        self.arrived: list[Arrival] = []

    def add(self, answered: float, counts: Mapping[int, int]) -> None:
        """The counts of an answer by time, and when it came. A count that fell is no arrival, nor is its return."""
        for time, count in counts.items():
            known = self._counts.get(time, 0)
            if count > known:
                self.arrived.append(Arrival(time, answered, count - known))
                self._counts[time] = count

    def times(self) -> list[int]:
        return sorted(self._counts)

    def since(self) -> int:
        """From where on the next poll has to ask."""
        return min(self._incomplete(), default=max(self._counts, default=self._start))

    def passed(self, end: int) -> bool:
        """Whether all rows of all times before `end` have come: also a later time has."""
        return max(self._counts, default=0) >= end and all(time >= end for time in self._incomplete())

    def complete(self, times: Iterable[int]) -> bool:
        return all(self._counts.get(time, 0) >= self._expected for time in times)

    def _incomplete(self) -> Collection[int]:
        return [time for time, count in self._counts.items() if count < self._expected]


def raw_latencies(arrived: Iterable[Arrival], end: int) -> Latencies:
    """From a reading's time to the answer that held it, of the readings before `end`."""
    return [(answered - time, rows) for time, answered, rows in arrived if time < end]


def window_starts(start: int, end: int, window: int, watermark: int) -> range:
    """Of the windows whose end plus the watermark is from `start` on and before `end`; milliseconds."""
    first = -((window + watermark - start) // window) * window
    return range(first, end - window - watermark, window)


def window_latencies(
    arrived: Iterable[Arrival], starts: Collection[int], delay: int, readings: Sequence[int]
) -> tuple[Latencies, Latencies]:
    """Of the rows of those windows, from the time that closes them and from the first reading that says so.

    A window is closed by a reading that is `delay` (window and watermark, milliseconds) after its start, or later.
    `readings` are the times at which there were some, in order.
    """
    by_clock, by_reading = [], []
    for time, answered, rows in arrived:
        if time in starts:
            closing = readings[bisect_left(readings, time + delay)]
            by_clock.append((answered - time - delay, rows))
            by_reading.append((answered - closing, rows))
    return by_clock, by_reading


def percentiles(latencies: Latencies) -> Row:
    """Over rows, the nearest rank: the smallest latency that the share has, or a smaller one. Milliseconds."""
    total, row, passed = sum(rows for _, rows in latencies), Row(), 0
    ranks = {name: math.ceil(total * share) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1))}
    row["rows"] = total
    for latency, rows in sorted(latencies):
        passed += rows
        for name, rank in ranks.items():
            if passed >= rank:
                row.setdefault(f"{name} ms", round(latency, 1))
    return row


class Sample(NamedTuple):
    """How far the stack was, `at` seconds after the start: lags in records."""

    at: float
    job_lag: int
    druid_lag: int


REACHED = 0.97  # of the rate that was wanted
BOUND, TOLERANCE, GROWTH = 10, 2, 1.5  # seconds of the rate, seconds of it, times


LAGS: dict[str, Callable[[Sample], int]] = {
    "windows job": lambda sample: sample.job_lag,
    "Druid": lambda sample: sample.druid_lag,
}


def lags(samples: Iterable[Sample], seconds: float) -> dict[str, list[list[int]]]:
    """Of each lag what it was in the second and in the last fifth of a stretch of so many seconds."""
    fifths: list[list[Sample]] = [[] for _ in range(5)]
    for sample in samples:
        fifths[min(4, int(sample.at / seconds * 5))].append(sample)
    return {name: [[lag(sample) for sample in fifths[number]] for number in (1, 4)] for name, lag in LAGS.items()}


def highest_lags(samples: Sequence[Sample]) -> dict[str, int]:
    """The highest of each lag; none where nothing was heard."""
    return {name: max(map(lag, samples)) for name, lag in LAGS.items()} if samples else {}


def behind(wanted: float, samples: Sequence[Sample]) -> list[str]:
    """The parts that were at any time too far behind for a rate of `wanted` (records/s), one text each."""
    return [f"{name}: {lag:,} records behind" for name, lag in highest_lags(samples).items() if lag > BOUND * wanted]


def why_not(wanted: float, rate: float, samples: Sequence[Sample], seconds: float) -> list[str]:
    """Why a rate (records/s) is not sustained, one text a reason; none when it is."""
    reasons = [f"the generator reached {rate:,.0f} records/s"] if rate < REACHED * wanted else []
    if too_far := behind(wanted, samples):
        return reasons + too_far
    for name, (second, last) in lags(samples, seconds).items():
        if not second or not last:
            reasons.append(f"{name}: nothing was heard of it")
        elif median(last) > GROWTH * median(second) + TOLERANCE * rate:
            reasons.append(f"{name}: its lag grew from {median(second):,.0f} to {median(last):,.0f} records")
    return reasons


def readme_queries(page: str) -> dict[str, str]:
    """The example queries of README.md by the comment above each."""
    [block] = re.findall(r"^```sql\n(.*?)^```", page, re.M | re.S)
    examples = [example.partition("\n") for example in block.strip().split("\n\n")]
    return {comment.removeprefix("-- "): query for comment, _, query in examples}
