"""The arithmetic of the live cases. Pure: it asks no clock, no Kafka and no Druid."""

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

Row = dict[str, Any]
Latencies = list[tuple[float, int]]  # milliseconds, and the number of rows with that latency


class Arrival(NamedTuple):
    """Rows of one time that are new in an answer. Times in milliseconds since the epoch."""

    time: int
    answered: float
    rows: int


class Arrivals:
    """When the rows of each time came, from polls of their counts. A time is complete with `expected` rows.

    The rows of a time come before those of later ones, as in a partition: so a poll can leave out complete times.
    """

    def __init__(self, expected: int, start: int) -> None:
        self._expected = expected
        self._start = start
        self._counts: dict[int, int] = {}
        self.arrived: list[Arrival] = []

    def add(self, answered: float, counts: Mapping[int, int]) -> None:
        """Add the counts of an answer, by time, that came at `answered`. A count that falls and returns counts once."""
        for time, count in counts.items():
            known = self._counts.get(time, 0)
            if count > known:
                self.arrived.append(Arrival(time, answered, count - known))
                self._counts[time] = count

    def times(self) -> list[int]:
        return sorted(self._counts)

    def since(self) -> int:
        """The first time that the next poll must ask for."""
        return min(self._incomplete(), default=max(self._counts, default=self._start))

    def passed(self, end: int) -> bool:
        """Whether all rows of all times before `end` have come, which rows of `end` or later show."""
        return max(self._counts, default=0) >= end and all(time >= end for time in self._incomplete())

    def complete(self, times: Iterable[int]) -> bool:
        return all(self._counts.get(time, 0) >= self._expected for time in times)

    def _incomplete(self) -> Collection[int]:
        return [time for time, count in self._counts.items() if count < self._expected]


def raw_latencies(arrived: Iterable[Arrival], end: int) -> Latencies:
    """From the time of a reading to the answer that held it, for the readings before `end`."""
    return [(answered - time, rows) for time, answered, rows in arrived if time < end]


def window_starts(start: int, end: int, window: int, watermark: int) -> range:
    """The starts of the windows whose end plus the watermark is `start` or later and before `end`; milliseconds."""
    first = -((window + watermark - start) // window) * window
    return range(first, end - window - watermark, window)


def window_latencies(
    arrived: Iterable[Arrival], starts: Collection[int], delay: int, readings: Sequence[int]
) -> tuple[Latencies, Latencies]:
    """The latencies of the rows of those windows: from the time that closes each, and from the reading that closes it.

    That reading is the first whose time is `delay` (window plus watermark, milliseconds) or more after the window's
    start. `readings` are the times of all readings, in order.
    """
    by_clock, by_reading = [], []
    for time, answered, rows in arrived:
        if time in starts:
            closing = readings[bisect_left(readings, time + delay)]
            by_clock.append((answered - time - delay, rows))
            by_reading.append((answered - closing, rows))
    return by_clock, by_reading


def percentiles(latencies: Latencies) -> Row:
    """Percentiles over rows by nearest rank: the smallest latency that the share of the rows doesn't exceed; ms."""
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
    """The lags of the stack in records, `at` seconds after the start."""

    at: float
    job_lag: int
    druid_lag: int


# A rate is sustained when the generator reaches this share of it, no lag ever exceeds BOUND seconds of the rate, and no
# median of a lag grows to more than GROWTH times the earlier one plus TOLERANCE seconds of the rate.
REACHED = 0.97
BOUND, GROWTH, TOLERANCE = 10, 1.5, 2

LAGS: dict[str, Callable[[Sample], int]] = {
    "windows job": lambda sample: sample.job_lag,
    "Druid": lambda sample: sample.druid_lag,
}


def lags(samples: Iterable[Sample], seconds: float) -> dict[str, list[list[int]]]:
    """The values of each lag in the second and in the last fifth of a period of `seconds`."""
    fifths: list[list[Sample]] = [[] for _ in range(5)]
    for sample in samples:
        fifths[min(4, int(sample.at / seconds * 5))].append(sample)
    return {name: [[lag(sample) for sample in fifths[number]] for number in (1, 4)] for name, lag in LAGS.items()}


def highest_lags(samples: Sequence[Sample]) -> dict[str, int]:
    """The highest value of each lag; empty without samples."""
    return {name: max(map(lag, samples)) for name, lag in LAGS.items()} if samples else {}


def behind(wanted: float, samples: Sequence[Sample]) -> list[str]:
    """One text for each part that was ever too far behind for a rate of `wanted` records/s."""
    return [f"{name}: {lag:,} records behind" for name, lag in highest_lags(samples).items() if lag > BOUND * wanted]


def why_not(wanted: float, rate: float, samples: Sequence[Sample], seconds: float) -> list[str]:
    """The reasons why a rate (records/s) is not sustained, one text each; empty when it is."""
    reasons = [f"the generator reached {rate:,.0f} records/s"] if rate < REACHED * wanted else []
    if too_far := behind(wanted, samples):
        return reasons + too_far
    for name, (second, last) in lags(samples, seconds).items():
        if not second or not last:
            reasons.append(f"{name}: no lag was measured")
        elif median(last) > GROWTH * median(second) + TOLERANCE * rate:
            reasons.append(f"{name}: its lag grew from {median(second):,.0f} to {median(last):,.0f} records")
    return reasons


def readme_queries(page: str) -> dict[str, str]:
    """The SQL of README.md, each query by the sentence before its block, up to a parenthesis or a colon."""
    blocks = re.findall(r"((?:[^\n]+\n)+)\n```sql\n(.*?)\n```", page, re.DOTALL)
    sentences = [(" ".join(paragraph.split()).split(". ")[-1], query) for paragraph, query in blocks]
    return {re.split(r"[(:]", sentence)[0].strip(): query for sentence, query in sentences}
