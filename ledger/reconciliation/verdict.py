"""The verdict on a reconciliation, in one sentence. Pure: it asks neither Kafka nor Druid."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
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
    """The exit code and one or two sentences. Druid is judged only when the windows job has nothing left to read."""
    lookup = Lookup(topics)
    faults = _in_kafka(found, lookup) + ([] if found.unread else _in_druid(found, druid, lookup))
    if faults:
        differs = ", ".join(fault.what for fault in faults)
        return DOES_NOT_CLOSE, f"The ledger does not close: {differs}; see it {faults[0].see}{_notes(found, topics)}"
    behind = [("the windows job", found.unread, "record"), ("Druid", _lag(found, druid), "row")]
    words = [f"{who} has {_n(number, what)}" for who, number, what in behind if number]
    if words:
        left = f"Still under way: {' and '.join(words)} left to read; WAIT=60 waits for them."
        return UNDER_WAY, left + _notes(found, topics)
    parts = [
        f"{found.in_windows:,} in windows",
        f"{found.in_open_windows:,} in open windows",
        f"{found.late_readings:,} late",
        f"{found.rejected.total():,} rejected",
    ]
    if found.in_removed_windows:
        parts.append(f"{found.in_removed_windows:,} in windows that retention has removed from Kafka")
    return CLOSES, (
        f"The ledger closes: {found.records:,} records = {' + '.join(parts)}, in Kafka and in Druid."
        f"{_notes(found, topics)}"
    )


def _notes(found: Reconciliation, topics: Mapping[str, Topic]) -> str:
    """What the ledger can't see, in a sentence each, with a space before it."""
    notes = ""
    if found.removed:
        names = [f"{topics[role].name} ({_n(found.removed_from(role), 'offset')})" for role in found.removed]
        notes += f" Retention has removed the oldest records of {' and '.join(names)}: they are not checked."
    if found.held_back:
        raw = topics["raw"].name
        notes += f" An open transaction hides {_n(found.held_back, 'offset')} of {raw} until its producer ends it."
    return notes


def _in_kafka(found: Reconciliation, lookup: Lookup) -> list[Fault]:
    """What is wrong in Kafka's topics."""
    more = sum(max(0, emitted - expected) for expected, emitted in found.wrong.values())
    less = sum(max(0, expected - emitted) for expected, emitted in found.wrong.values())
    without, wrong, without_readings = sum(found.without_readings.values()), found.wrong, found.without_readings
    if found.excused + more + without <= found.removed_from(
        "raw"
    ):  # they may count readings that retention has removed
        more, without_readings = 0, {}
        wrong = {window: pair for window, pair in wrong.items() if pair[1] < pair[0]}
    lost = found.acknowledged - found.records - found.removed_from("raw") - found.held_back
    possible: list[tuple[Collection[Any], str, str, Callable[[Any], str]]] = [
        (found.too_short.items(), "partition", "ending before the offset that the windows job has read", lookup.record),
        (found.unexplained, "record", "neither valid nor rejected", lookup.record),
        (found.missing, "missing window", f"with {_n(sum(found.missing.values()), 'reading')}", lookup.readings),
        (wrong, "window", f"counting {_n(more, 'reading')} too many and {less:,} too few", lookup.readings),
        (without_readings, "window", f"without readings but with a count of {without:,}", lookup.window),
        (found.duplicate_windows, "window", "appearing more than once", lookup.window),
        (found.early_windows, "window", "emitted ahead of the watermark", lookup.window),
        (found.early, "record", "rejected or late before being read", lookup.record),
        (found.rejected_twice, "record", "rejected twice", lookup.rejected),
        (found.rejected_missing, "rejected record", "missing from the raw topic", lookup.rejected),
        (found.late_missing, "late reading", "missing from the late topic", lookup.record),
        (found.late_twice, "late reading", "twice in the late topic", lookup.late),
        (found.not_late, "record", "of the late topic without a late reading", lookup.late),
        (found.late_wrong, "late reading", "with another vehicle, window or watermark in the late topic", lookup.late),
        (found.malformed, "invalid record", "written by the windows job", lookup.malformed),
        (found.again, "record", "of the windows job about what was already verified", lookup.malformed),
    ]
    faults = [
        Fault(f"{_n(len(items), noun)} {rest}", see(next(iter(items)))) for items, noun, rest, see in possible if items
    ]
    if lost > 0:
        what = f"{_n(lost, 'record')} fewer in the raw topic than Kafka has acknowledged to the generator"
        faults.append(Fault(what, lookup.topic("runs")))
    for number, noun in ((found.job_records, "record"), (found.job_late, "late reading")):
        if number:
            what = f"{_n(abs(number), noun)} {'more' if number > 0 else 'fewer'} in the progress tokens than in Kafka"
            faults.append(Fault(what, lookup.topic("progress")))
    return faults


def _in_druid(found: Reconciliation, druid: Rows, lookup: Lookup) -> list[Fault]:
    """What Druid has and Kafka has not. Rows that Druid lacks may still come."""
    kafka, removed = _expected(found), found.removed_from
    old, recent = (ours - theirs for ours, theirs in zip(_readings(druid), _readings(kafka), strict=True))
    possible = [
        (max(0, old) + max(0, recent), removed("raw"), "reading", lookup.duplicate_readings()),
        (druid.windows - kafka.windows, removed("aggregated"), "window", lookup.duplicate_windows()),
        (druid.late - kafka.late, removed("late"), "late reading", lookup.duplicate_places("late")),
        (druid.rejected - kafka.rejected, removed("rejected"), "rejected record", lookup.duplicate_places("rejected")),
        (druid.duplicate_windows - kafka.duplicate_windows, 0, "duplicate window", lookup.duplicate_windows()),
    ]
    faults = [
        Fault(f"{number:,} more {noun}{'' if number == 1 else 's'} in Druid than in Kafka", see)
        for number, allowed, noun, see in possible
        if number > allowed
    ]
    counted = druid.readings_in_windows - kafka.readings_in_windows
    if not faults and not removed("aggregated") and (counted > 0 or (counted and druid.windows == kafka.windows)):
        noun = "reading" if abs(counted) == 1 else "readings"
        what = f"{abs(counted):,} {'more' if counted > 0 else 'fewer'} {noun} in Druid's windows than in Kafka's"
        faults.append(Fault(what, lookup.window_counts()))
    return faults


def _lag(found: Reconciliation, druid: Rows) -> int:
    """Rows that Kafka has and Druid has not."""
    kafka = _expected(found)
    pairs = (
        *zip(_readings(kafka), _readings(druid), strict=True),
        (kafka.windows, druid.windows),
        (kafka.late, druid.late),
        (kafka.rejected, druid.rejected),
    )
    return sum(max(0, there - here) for there, here in pairs)


def _expected(found: Reconciliation) -> Rows:
    """What Druid must have: the rows in Kafka, and those that retention has removed from there."""
    kafka = found.kafka
    return replace(
        kafka,
        windows=kafka.windows + found.removed_windows,
        readings_in_windows=kafka.readings_in_windows + found.in_removed_windows,
        late=kafka.late + found.removed_late,
    )


def _readings(rows: Rows) -> tuple[int, int]:
    """The readings before the boundary of the cut, and the others. Where data flows, only the former stand still."""
    return rows.readings - rows.recent_readings, rows.recent_readings


def _n(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
