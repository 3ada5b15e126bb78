"""Reads Kafka and asks Druid until they have all that the raw topic held at the beginning, or the time is over."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TypeVar

from service.contract import Topic

from reconciliation import runs
from reconciliation.druid import Druid, DruidError
from reconciliation.json_values import times
from reconciliation.ledger import Ledger
from reconciliation.progress import Offsets, Progress
from reconciliation.result import Reconciliation, Rows, Run
from reconciliation.topics import KafkaTopics
from reconciliation.verdict import UNDER_WAY, verdict

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sources:
    """What is reconciled, and until when to wait for it."""

    kafka: KafkaTopics
    druid: Druid
    topics: Mapping[str, Topic]  # by role
    deadline: float  # by the monotonic clock

    def name(self, role: str) -> str:
        return self.topics[role].name

    def time_is_over(self) -> bool:
        return time.monotonic() >= self.deadline

    def answer(self, ask: Callable[[], T]) -> T:
        """What Druid answers, which may be starting. Raises DruidError when it has not answered by the deadline."""
        while True:
            try:
                return ask()
            except DruidError:
                if self.time_is_over():
                    raise
            time.sleep(1)


def reconcile(
    kafka: KafkaTopics, druid: Druid, topics: Mapping[str, Topic], wait: float
) -> tuple[Reconciliation, Rows]:
    """The reconciliation and Druid's rows, of what the raw topic holds now.

    Waits up to `wait` seconds until the windows job and Druid have read that. What comes meanwhile is left out: the
    ledger judges up to the end of the batch that has read the last of it. Raises KafkaError and DruidError.
    """
    sources = Sources(kafka, druid, topics, time.monotonic() + wait)
    raw, tokens = sources.name("raw"), sources.name("progress")
    found_runs = _runs(sources)  # first: what they count must be in the topic
    all_ends, end, first = kafka.end(raw), kafka.committed_end(raw), kafka.first(raw)
    progress, read = Progress(raw), kafka.first(tokens)
    while True:
        read = follow(kafka, tokens, progress, read)
        if progress.has_read(first, end) or sources.time_is_over():
            break
        time.sleep(1)
    held_back = sum(max(0, offset - end.get(partition, 0)) for partition, offset in all_ends.items())
    found = replace(count(sources, progress, read, end), runs=found_runs, held_back=held_back)
    later = Later(kafka, raw, found)
    while True:
        rows = later.left_out(sources.answer(lambda: druid.rows(topics, found.cut)))
        if verdict(found, rows, topics)[0] != UNDER_WAY or sources.time_is_over():
            return found, rows
        time.sleep(1)


def follow(kafka: KafkaTopics, topic: str, progress: Progress, first: Offsets) -> Offsets:
    """Add the tokens from `first` on to `progress`, until there are no more; the offsets where they end."""
    known = len(progress.ignored)
    while (end := kafka.end(topic)) != first:
        for _, records in kafka.read(topic, first, end):
            for record in records:
                progress.add(record.value)
        first = end
    if progress.ignored and not known:
        logger.warning("%s holds a record that is not a progress token: %r", topic, progress.ignored[0])
    return first


def count(sources: Sources, progress: Progress, read: Offsets, end: Offsets) -> Reconciliation:
    """The reconciliation of all that the windows job has done up to the last token of `progress`.

    `read` is where the tokens end, `end` is where the snapshot of the raw topic ends.
    """
    kafka, raw, ledger = sources.kafka, sources.name("raw"), Ledger(progress)
    first = {role: kafka.first(sources.name(role)) for role in ("raw", "aggregated", "rejected", "late")}
    written = (("rejected", ledger.add_rejected), ("late", ledger.add_late), ("aggregated", ledger.add_window))
    for role, add in written:
        topic = sources.name(role)
        for partition, records in kafka.read(topic, first[role], kafka.end(topic)):
            for record in records:
                add(partition, record.offset, record.value)
    latest = Progress(raw)
    follow(kafka, sources.name("progress"), latest, read)
    if any(first["rejected"].values()):  # Druid keeps what retention has removed
        rejected = sources.answer(lambda: list(sources.druid.rejected(sources.topics, first["raw"], ledger.cut)))
        for place, reason in rejected:
            ledger.restore_rejected(place, reason)
    now = kafka.committed_end(raw)
    read_up_to = {p: min(max(end.get(p, 0), progress.offsets.get(p, 0)), now[p]) for p in now}
    for partition, records in kafka.read(raw, first["raw"], read_up_to):
        ledger.add_records(partition, map(attrgetter("offset", "value"), records))
    return ledger.close(first, now, latest)


class Later:
    """The records of the raw topic behind the cut, which Druid may have read too. It has no offsets of its readings."""

    def __init__(self, kafka: KafkaTopics, raw: str, found: Reconciliation) -> None:
        self._kafka, self._raw, self._cut, self._expected = kafka, raw, found.cut, found.kafka
        self._position = dict(found.cut.offsets)
        self._old = self._recent = 0  # readings before the boundary of the cut, and the others

    def left_out(self, rows: Rows) -> Rows:
        """Druid's rows without the readings behind the cut: of the surplus, as much as came behind the cut."""
        recent = rows.recent_readings
        old = rows.readings - recent
        recent_surplus = max(0, recent - self._expected.recent_readings)
        old_surplus = max(0, old - (self._expected.readings - self._expected.recent_readings))
        if recent_surplus > self._recent or old_surplus > self._old:
            self._read_on()
        recent -= min(recent_surplus, self._recent)
        old -= min(old_surplus, self._old)
        return replace(rows, readings=old + recent, recent_readings=recent)

    def _read_on(self) -> None:
        end = self._kafka.committed_end(self._raw)
        for _, records in self._kafka.read(self._raw, self._position, end):
            old, recent = times((record.value for record in records), self._cut.boundary)
            self._old += old
            self._recent += recent
        self._position = end


def _runs(sources: Sources) -> list[Run]:
    topic, kafka = sources.name("runs"), sources.kafka
    records = (each for _, some in kafka.read(topic, kafka.first(topic), kafka.committed_end(topic)) for each in some)
    return runs.newest(record.value for record in records)
