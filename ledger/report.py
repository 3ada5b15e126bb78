"""The books as a table, and the verdict on them in one sentence. Pure: it asks neither Kafka nor Druid."""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from ledger import AGGREGATED, RAW, REJECTED, Books, Place, Rows, Window

# The exit codes of verify.py
CLOSED, NOT_CLOSED, UNDER_WAY = 0, 1, 3

MOST = 10  # lines of a list

# What shows rows of Druid that are there more than once.
DOUBLED_READINGS = f'SELECT entity, seq, COUNT(*) AS n FROM "{RAW}" GROUP BY 1, 2 HAVING COUNT(*) > 1'
DOUBLED_WINDOWS = f'SELECT __time, entity, COUNT(*) AS n FROM "{AGGREGATED}" GROUP BY 1, 2 HAVING COUNT(*) > 1'
DOUBLED_REJECTS = f'SELECT "partition", "offset", COUNT(*) AS n FROM "{REJECTED}" GROUP BY 1, 2 HAVING COUNT(*) > 1'


@dataclass(frozen=True)
class Fault:
    what: str  # what is wrong, and by how much
    see: str  # how to look at it


def verdict(books: Books, druid: Rows) -> tuple[int, str]:
    """The exit code and one sentence. Druid is judged only when the windows job has nothing left to read."""
    settled = not books.unread and not books.moved
    faults = _in_kafka(books) + (_in_druid(books.kafka, druid) if settled else [])
    if faults:
        differs = ", ".join(fault.what for fault in faults)
        return NOT_CLOSED, f"The books do not close: {differs}; see it {faults[0].see}"
    behind = [(books.unread, "records", "the windows job"), (_lag(books.kafka, druid), "rows", "Druid")]
    words = [f"{number:,} {what} that {who}" for number, what, who in behind if number]
    if words:
        return UNDER_WAY, f"Still under way: {' and '.join(words)} has not read yet; WAIT=60 waits for them."
    if books.moved:
        return UNDER_WAY, "Still under way: the windows job went on while this was counted; WAIT=60 waits for it."
    return CLOSED, (
        f"The books close: {books.records:,} records = {books.in_windows:,} in windows + {books.in_open_windows:,} in"
        f" open windows + {books.late.total():,} late + {books.rejected.total():,} rejected, in Kafka and in Druid."
    )


def _in_kafka(books: Books) -> list[Fault]:
    """What is wrong in Kafka's topics. Retention comes first: much of the rest then follows from it."""
    removed = sum(books.removed.values())
    more = sum(max(0, emitted - should) for should, emitted in books.wrong.values())
    less = sum(max(0, should - emitted) for should, emitted in books.wrong.values())
    ahead = {} if books.moved else books.ahead  # while the job goes on, these are of its later batches
    rejected_ahead = [] if books.moved else books.rejected_ahead
    readings = partial(_readings, books.window_seconds)
    possible: list[tuple[Collection[Any], str, str, Callable[[Any], str]]] = [
        (books.removed.items(), "partition", f"whose first {removed:,} records retention removed", _record),
        (books.lost.items(), "partition", "ending before what the windows job has read", _record),
        (books.unexplained, "record", "neither rejected nor a reading", _record),
        (books.missing, "missing window", f"with {sum(books.missing.values()):,} readings", readings),
        (books.wrong, "window", f"counting {more:,} readings too many and {less:,} too few", readings),
        (books.too_many, "window", f"without readings, counting {sum(books.too_many.values()):,}", _window),
        (books.twice, "window", "appearing twice", _window),
        (ahead, "window", "emitted ahead of the watermark", _window),
        (rejected_ahead, "record", "rejected without having been read", _reject),
        (books.rejected_twice, "record", "rejected twice", _reject),
        (books.rejected_nowhere, "record", "rejected but not there", _reject),
        (books.malformed, "malformed record", "of the windows job", _malformed),
    ]
    return [
        Fault(f"{_n(len(items), noun)} {rest}", see(next(iter(items)))) for items, noun, rest, see in possible if items
    ]


def _in_druid(kafka: Rows, druid: Rows) -> list[Fault]:
    """What Druid has that Kafka hasn't; what it lacks it may still read."""
    possible = [
        (druid.readings - kafka.readings, "reading", DOUBLED_READINGS),
        (druid.windows - kafka.windows, "window", DOUBLED_WINDOWS),
        (druid.rejected - kafka.rejected, "reject", DOUBLED_REJECTS),
        (druid.twice - kafka.twice, "doubled window", DOUBLED_WINDOWS),
    ]
    faults = [
        Fault(f"{_n(number, noun)} more in Druid than in Kafka", f"with: {query}")
        for number, noun, query in possible
        if number > 0
    ]
    counted = druid.counted - kafka.counted
    if not faults and (counted > 0 or (counted and druid.windows == kafka.windows)):
        what = f"{_n(abs(counted), 'reading')} {'more' if counted > 0 else 'less'} in Druid's windows than in Kafka's"
        faults.append(Fault(what, f'with: SELECT __time, SUM("count") FROM "{AGGREGATED}" GROUP BY 1'))
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


def _record(place: Place) -> str:
    return f"at partition {place[0]}, offset {place[1]} of {RAW}"


def _malformed(place: tuple[str, int, int]) -> str:
    topic, partition, offset = place
    return f"at partition {partition}, offset {offset} of {topic}"


def _reject(place: Place) -> str:
    return f'with: SELECT * FROM "{REJECTED}" WHERE "partition" = {place[0]} AND "offset" = {place[1]}'


def _window(window: Window) -> str:
    start, entity = window
    return f"with: SELECT * FROM \"{AGGREGATED}\" WHERE __time = TIMESTAMP '{_moment(start)}' AND entity = {entity}"


def _readings(window_seconds: int, window: Window) -> str:
    start, entity = window
    return (
        f"with: SELECT * FROM \"{RAW}\" WHERE entity = {entity} AND __time >= TIMESTAMP '{_moment(start)}'"
        f" AND __time < TIMESTAMP '{_moment(start + window_seconds * 1000)}'"
    )


def _moment(milliseconds: int) -> str:
    """As Druid's SQL and people write it, UTC."""
    return str(datetime(1970, 1, 1) + timedelta(milliseconds=milliseconds))


def table(books: Books, druid: Rows) -> str:
    """All figures, several lines; of the lists the longest ones."""
    kafka = books.kafka
    one = [
        ("records in the raw topic", books.records),
        ("  in windows that are emitted", books.in_windows),
        ("  in windows still open", books.in_open_windows),
        ("  late", books.late.total()),
        ("  rejected", books.rejected.total()),
        ("  not yet read by the windows job", books.unread),
        ("  in none of these", books.in_none),
    ]
    two = [
        ("readings", kafka.readings, druid.readings),
        ("windows", kafka.windows, druid.windows),
        ("readings in windows", kafka.counted, druid.counted),
        ("rejected", kafka.rejected, druid.rejected),
        ("windows that appear twice", kafka.twice, druid.twice),
    ]
    seqs = [
        ("duplicates by (entity, seq)", books.duplicates),
        ("gaps in seq", books.gaps),
        ("out of order", books.out_of_order),
    ]
    late = Counter({f"{_moment(start)} vehicle {entity}": n for (start, entity), n in books.late.items()})
    lines = [_line(label, "", f"{number:,}") for label, number in one]
    lines += ["", _line("", "Kafka", "Druid")]
    lines += [_line(label, f"{there:,}", f"{here:,}") for label, there, here in two]
    lines += ["", *(_line(label, f"{number:,}") for label, number in seqs)]
    lines += [*_most("rejected, by reason", books.rejected), *_most("late, by window and vehicle", late)]
    return "\n".join(lines)


def _line(label: str, *columns: str) -> str:
    """Columns of 12 characters behind a label of 28; one that is longer takes room of what is before it."""
    line = f"  {label}"
    for end, text in zip((40, 52), columns, strict=False):
        line += f" {text:>{max(0, end - len(line) - 1)}}" if text else ""
    return line


def _most(title: str, counts: Counter[str]) -> list[str]:
    """The most frequent ones under their title; no line where there is none."""
    if not counts:
        return []
    lines = [_line(f"  {' '.join(text.split())}", "", f"{number:,}") for text, number in counts.most_common(MOST)]
    more = [_line(f"  ... and {len(counts) - MOST:,} more")] if len(counts) > MOST else []
    return ["", _line(title), *lines, *more]
