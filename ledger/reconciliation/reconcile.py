"""Reads Kafka and asks Druid until they have all that the raw topic held at the beginning, or the time is over."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, TypeVar

from service.contract import Topic
from service.druid import Denied, DruidError

from reconciliation import runs
from reconciliation.druid import Druid
from reconciliation.later import Later
from reconciliation.ledger import Ledger, StateMismatch
from reconciliation.parts import follow, parts, take
from reconciliation.progress import Offsets, Progress
from reconciliation.result import Reconciliation, Rows, Run
from reconciliation.topics import KafkaTopics
from reconciliation.verdict import DOES_NOT_CLOSE, UNDER_WAY, verdict

PROGRESS_INTERVAL = 5  # seconds between two lines on how far it has read
ROLES = ("raw", "aggregated", "rejected", "late", "progress")

State = dict[str, Any]
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
        seen = ""
        while True:
            try:
                return ask()
            except Denied:
                raise
            except DruidError as error:
                if self.time_is_over():
                    raise
                if str(error) != seen:
                    seen = str(error)
                    logger.info("waiting for Druid: %s", seen)
            time.sleep(1)


@dataclass(frozen=True)
class Outcome:
    found: Reconciliation
    rows: Rows  # Druid's
    state: State | None  # to go on from in a later run; None if something is wrong


def reconcile(
    kafka: KafkaTopics, druid: Druid, topics: Mapping[str, Topic], wait: float, state: State | None = None
) -> Outcome:
    """The reconciliation and Druid's rows, of what the raw topic holds now, after what an earlier run has verified.

    Waits up to `wait` seconds until the windows job and Druid have read that. What comes meanwhile is left out: the
    ledger judges up to the end of the batch that has read the last of it. Raises KafkaError and DruidError.
    """
    sources = Sources(kafka, druid, topics, time.monotonic() + wait)
    ids = kafka.ids([sources.name(role) for role in ROLES])
    try:
        if state:
            check(state, sources, ids)
            logger.info("%s records are verified already; FULL=1 reads them again", f"{state['records']:,}")
        return _reconciled(sources, ids, state)
    except StateMismatch as error:
        logger.warning("The state of the last verification can't be used: %s. All records are read again.", error)
        return _reconciled(sources, ids, None)


def check(state: State, sources: Sources, ids: Mapping[str, str]) -> None:
    """Raises StateMismatch unless the topics are those of the state and go on where it ends."""
    kafka = sources.kafka
    if state["ids"].keys() != ids.keys():
        raise StateMismatch("it belongs to topics of other names")
    for name, found in ids.items():
        if state["ids"][name] != found:
            raise StateMismatch(f"{name} was created again" if name else "it belongs to another Kafka cluster")
    for role, offsets in state["positions"].items():
        end = kafka.end(sources.name(role))
        if any(end.get(partition, 0) < offset for partition, offset in offsets):
            raise StateMismatch(f"{sources.name(role)} ends before what is verified")
    read = dict(state["positions"]["progress"])
    if any(offset > read.get(partition, 0) for partition, offset in kafka.first(sources.name("progress")).items()):
        raise StateMismatch(f"retention has removed records of {sources.name('progress')} that were not read")


def _reconciled(sources: Sources, ids: Mapping[str, str], state: State | None) -> Outcome:
    kafka, druid, topics = sources.kafka, sources.druid, sources.topics
    raw, tokens = sources.name("raw"), sources.name("progress")
    found_runs = _runs(sources)  # first: what they count must be in the topic
    all_ends, end, first = kafka.end(raw), kafka.committed_end(raw), kafka.first(raw)
    progress = Progress.resumed(raw, state) if state else Progress(raw)
    read = dict(state["positions"]["progress"]) if state else kafka.first(tokens)
    while True:
        read = follow(kafka, tokens, progress, read)
        if progress.has_read(first, end) or sources.time_is_over():
            break
        time.sleep(1)
    held_back = sum(max(0, offset - end.get(partition, 0)) for partition, offset in all_ends.items())
    found, new_state = count(sources, progress, read, end, state)
    found = replace(found, runs=found_runs, held_back=held_back)
    later = Later(kafka, raw, found)
    while True:
        rows = later.left_out(sources.answer(lambda: druid.rows(topics, found.cut)))
        code, _ = verdict(found, rows, topics)
        if code != UNDER_WAY or sources.time_is_over():
            return Outcome(found, rows, None if code == DOES_NOT_CLOSE or not new_state else new_state | {"ids": ids})
        time.sleep(1)


def count(
    sources: Sources, progress: Progress, read: Offsets, end: Offsets, state: State | None
) -> tuple[Reconciliation, State | None]:
    """The reconciliation of all that the windows job has done up to the last token of `progress`, and the next state.

    `read` is where the tokens end, `end` is where the snapshot of the raw topic ends. It takes the tokens in parts,
    each with what was written and read up to there, so that memory holds little. Raises StateMismatch.
    """
    kafka, raw = sources.kafka, sources.name("raw")
    first = {role: kafka.first(sources.name(role)) for role in ROLES}
    begin = {role: dict(offsets) for role, offsets in state["positions"].items()} if state else dict[str, Offsets]()
    if not state and any(first["progress"].values()):  # what a removed token has read can't be judged
        first["raw"] = {p: max(offset, progress.begin.get(p, 0)) for p, offset in first["raw"].items()}
    position = {
        role: {p: max(offset, begin.get(role, {}).get(p, 0)) for p, offset in first[role].items()} for role in ROLES
    }
    rejected_removed = any(offset > begin.get("rejected", {}).get(p, 0) for p, offset in first["rejected"].items())
    now = kafka.committed_end(raw)
    read_up_to = {p: min(max(end.get(p, 0), progress.offsets.get(p, 0)), now[p]) for p in now}
    line = ProgressLine(raw, sum(max(0, read_up_to[p] - position["raw"].get(p, 0)) for p in read_up_to))
    start = Progress.resumed(raw, state) if state else Progress(raw)
    start.lengths = progress.lengths
    ledger, in_order, latest = Ledger(state), True, Progress(raw)
    written = {"rejected": ledger.rejected.add, "late": ledger.late.add, "aggregated": ledger.windows.add}
    for part, is_last in parts(kafka, sources.name("progress"), position["progress"], read, start):
        ledger.go_on(part)
        for role, add in written.items():
            in_order &= take(kafka, sources.name(role), position[role], add, is_last)
        if is_last:
            follow(kafka, sources.name("progress"), latest, read)
        if rejected_removed:
            restore_rejected(sources, ledger, position["raw"])
        up_to = read_up_to if is_last else {p: min(part.offsets.get(p, 0), now[p]) for p in now}
        for partition, records in kafka.read(raw, position["raw"], up_to):
            ledger.add_records(partition, map(attrgetter("offset", "value"), records))
            line.read(len(records))
        position["raw"] = {p: max(offset, position["raw"].get(p, 0)) for p, offset in up_to.items()}
    found = ledger.close(first, now, latest)
    if not in_order:
        return found, None
    raw_position = {p: max(offset, ledger.cut.offsets.get(p, 0)) for p, offset in first["raw"].items()}
    position |= {"raw": raw_position, "progress": read}
    positions = {role: list(offsets.items()) for role, offsets in position.items()}
    return found, ledger.state(found) | {"positions": positions, "lengths": sorted(progress.lengths)}


def restore_rejected(sources: Sources, ledger: Ledger, first: Offsets) -> None:
    """Add the rejected records from `first` to the cut that Druid has: it keeps what retention has removed."""
    for place, reason in sources.answer(lambda: list(sources.druid.rejected(sources.topics, first, ledger.cut))):
        ledger.rejected.restore(place, reason)


class ProgressLine:
    """Reports how much of the raw topic has been read."""

    def __init__(self, topic: str, total: int) -> None:
        self._topic, self._total = topic, total
        self._done = 0
        self._next = time.monotonic() + PROGRESS_INTERVAL

    def read(self, records: int) -> None:
        """Report that so many more were read."""
        self._done += records
        if (now := time.monotonic()) > self._next:
            self._next = now + PROGRESS_INTERVAL
            logger.info("read %s of up to %s records of %s", f"{self._done:,}", f"{self._total:,}", self._topic)


def _runs(sources: Sources) -> list[Run]:
    topic, kafka = sources.name("runs"), sources.kafka
    records = (each for _, some in kafka.read(topic, kafka.first(topic), kafka.committed_end(topic)) for each in some)
    return runs.newest(record.value for record in records)
