"""The verdict on a reconciliation, in one sentence. Pure: it asks neither Kafka nor Druid."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from service.contract import Topic

from reconciliation.lookup import Lookup
from reconciliation.result import Reconciliation, Rows

# The exit codes of verify.py
CLOSES, DOES_NOT_CLOSE, UNDER_WAY = 0, 1, 3


@dataclass(frozen=True)
class Fault:
    what: str  # what is wrong, and by how much
    see: str  # how to look at it


def verdict(found: Reconciliation, druid: Rows, topics: Mapping[str, Topic]) -> tuple[int, str]:
    """The exit code and one sentence. Druid is judged only when the windows job has nothing left to read."""
    lookup = Lookup(topics, found.window_seconds)
    settled = not found.unread and not found.outdated
    faults = _in_kafka(found, lookup) + (_in_druid(found.kafka, druid, lookup) if settled else [])
    if faults:
        differs = ", ".join(fault.what for fault in faults)
        return DOES_NOT_CLOSE, f"The ledger does not close: {differs}; see it {faults[0].see}"
    behind = [("the windows job", found.unread, "record"), ("Druid", _lag(found.kafka, druid), "row")]
    words = [f"{who} has {_n(number, what)}" for who, number, what in behind if number]
    if words:
        return UNDER_WAY, f"Still under way: {' and '.join(words)} left to read; WAIT=60 waits for them."
    if found.outdated:
        return UNDER_WAY, "Still under way: the windows job went on during the count; WAIT=60 waits for it."
    return CLOSES, (
        f"The ledger closes: {found.records:,} records = {found.in_windows:,} in windows + {found.in_open_windows:,} in"
        f" open windows + {found.late.total():,} late + {found.rejected.total():,} rejected, in Kafka and in Druid."
    )


def _in_kafka(found: Reconciliation, lookup: Lookup) -> list[Fault]:
    """What is wrong in Kafka's topics. Retention comes first: much of the rest may follow from it."""
    removed = sum(found.removed.values())
    more = sum(max(0, emitted - expected) for expected, emitted in found.wrong.values())
    less = sum(max(0, expected - emitted) for expected, emitted in found.wrong.values())
    early_windows = {} if found.outdated else found.early_windows
    rejected_early = [] if found.outdated else found.rejected_early
    without = sum(found.without_readings.values())
    possible: list[tuple[Collection[Any], str, str, Callable[[Any], str]]] = [
        (
            found.removed.items(),
            "partition",
            f"from which retention removed the first {removed:,} records",
            lookup.record,
        ),
        (found.too_short.items(), "partition", "ending before the offset that the windows job has read", lookup.record),
        (found.unexplained, "record", "neither valid nor rejected", lookup.record),
        (found.missing, "missing window", f"with {_n(sum(found.missing.values()), 'reading')}", lookup.readings),
        (found.wrong, "window", f"counting {_n(more, 'reading')} too many and {less:,} too few", lookup.readings),
        (found.without_readings, "window", f"without readings but with a count of {without:,}", lookup.window),
        (found.duplicate_windows, "window", "appearing more than once", lookup.window),
        (early_windows, "window", "emitted ahead of the watermark", lookup.window),
        (rejected_early, "record", "rejected before being read", lookup.rejected),
        (found.rejected_twice, "record", "rejected twice", lookup.rejected),
        (found.rejected_missing, "rejected record", "missing from the raw topic", lookup.rejected),
        (found.malformed, "invalid record", "written by the windows job", lookup.malformed),
    ]
    return [
        Fault(f"{_n(len(items), noun)} {rest}", see(next(iter(items)))) for items, noun, rest, see in possible if items
    ]


def _in_druid(kafka: Rows, druid: Rows, lookup: Lookup) -> list[Fault]:
    """What Druid has and Kafka has not. Rows that Druid lacks may still come."""
    possible = [
        (druid.readings - kafka.readings, "reading", lookup.duplicate_readings()),
        (druid.windows - kafka.windows, "window", lookup.duplicate_windows()),
        (druid.rejected - kafka.rejected, "rejected record", lookup.duplicate_rejected()),
        (druid.duplicate_windows - kafka.duplicate_windows, "duplicate window", lookup.duplicate_windows()),
    ]
    faults = [
        Fault(f"{number:,} more {noun}{'' if number == 1 else 's'} in Druid than in Kafka", see)
        for number, noun, see in possible
        if number > 0
    ]
    counted = druid.readings_in_windows - kafka.readings_in_windows
    if not faults and (counted > 0 or (counted and druid.windows == kafka.windows)):
        noun = "reading" if abs(counted) == 1 else "readings"
        what = f"{abs(counted):,} {'more' if counted > 0 else 'fewer'} {noun} in Druid's windows than in Kafka's"
        faults.append(Fault(what, lookup.window_counts()))
    return faults


def _lag(kafka: Rows, druid: Rows) -> int:
    """Rows that Kafka has and Druid has not."""
    pairs = (
        (kafka.readings, druid.readings),
        (kafka.windows, druid.windows),
        (kafka.rejected, druid.rejected),
    )
    return sum(max(0, there - here) for there, here in pairs)


def _n(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
