"""The books' arithmetic: what became of every record of the raw topic. Pure: no Kafka, no clock.

The windows job says batch by batch what it has read and where its watermark stood (Progress). From that follows what it
must have done with a record: a valid one is late when its window's end was not above the watermark before its batch;
else it counts in its window; and a window is emitted by the first batch whose own watermark has reached its end.
"""

import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

# Kafka's topics; Druid's datasources have the same names.
RAW, AGGREGATED, REJECTED = "sensor-data-raw", "sensor-data-aggregated", "sensor-data-rejected"
PROGRESS = "sensor-data-progress"

Window = tuple[int, int]  # its start in milliseconds since the epoch, and its vehicle
Place = tuple[int, int]  # a partition of the raw topic, and an offset in it

MAX_SEQ = 2**63 - 1  # of the windows job's and of Druid's 64-bit integers; a larger one is none

_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]|[^"\[\]{}]+')
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOTHING: dict[int, int] = {}


class Progress:
    """What the windows job has done, from its tokens; `offsets` are how far it has read, by partition, exclusive."""

    def __init__(self) -> None:
        self.window_seconds = 0
        self.watermark = 0  # of the last token, in milliseconds since the epoch
        self.offsets: dict[int, int] = {}
        # By partition: up to which offset the watermark before the batch was which. A day's tokens take little memory.
        self.steps: dict[int, list[tuple[int, int]]] = defaultdict(list)

    def add(self, token: bytes) -> None:
        """The next token of the topic. Raises ValueError when it is none, or its windows have another length."""
        try:
            values = json.loads(token)
            seconds, watermark = int(values["window_seconds"]), int(values["watermark"])
            offsets = {int(partition): int(end) for partition, end in values["offsets"].get(RAW, {}).items()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f"the windows job wrote a token that can't be read ({error!r}): {token[:200]!r}"
            ) from error
        if seconds < 1 or self.window_seconds not in (0, seconds):
            raise ValueError(f"the windows job changed its windows from {self.window_seconds} to {seconds} seconds")
        for partition, end in offsets.items():
            if end > self.offsets.get(partition, 0):
                steps = self.steps[partition]
                if steps and steps[-1][1] == self.watermark:
                    steps.pop()
                steps.append((end, self.watermark))
        self.window_seconds, self.watermark = seconds, watermark
        self.offsets = self.offsets | offsets


@dataclass(frozen=True)
class Rows:
    """What Kafka's topics or Druid's datasources hold."""

    readings: int  # valid ones
    windows: int
    counted: int  # the sum of the windows' counts
    rejected: int
    twice: int  # windows that appear more than once


@dataclass(frozen=True)
class Books:
    """What became of the records that the windows job has read, and what is wrong with that."""

    window_seconds: int
    in_windows: int  # readings of windows that are emitted, counted again from the raw topic
    in_open_windows: int
    late: Counter[Window]  # readings that came after their window was closed
    rejected: Counter[str]  # records by the reason why they are no readings
    unread: int  # records that the windows job has not read yet
    kafka: Rows

    duplicates: int  # of (vehicle, seq)
    gaps: int  # each vehicle's missing seqs between its lowest and its highest
    out_of_order: int  # readings behind a higher seq of their vehicle in their partition; neither late nor duplicates

    # What must not be. By window the count that was emitted, or that should have been, or (that should have been, was).
    removed: dict[int, int]  # the first offset of partitions whose beginning retention has removed
    lost: dict[int, int]  # the end of partitions that the windows job says to have read further than they are long
    unexplained: list[Place]  # records that are not rejected and yet no readings
    missing: dict[Window, int]
    wrong: dict[Window, tuple[int, int]]
    too_many: dict[Window, int]
    twice: dict[Window, int]
    ahead: dict[Window, int]  # emitted before the watermark reached their end
    rejected_twice: list[Place]
    rejected_nowhere: list[Place]  # named by the rejects, but there is no such record
    rejected_ahead: list[Place]  # named by the rejects before the windows job has read it
    malformed: list[tuple[str, int, int]]  # topic, partition and offset of records that are no windows, or no rejects

    # The windows job went on while this was read: what is ahead is of later batches, and nothing wrong.
    moved: bool = False

    @property
    def in_none(self) -> int:
        """Records that are in no other figure: no reading, or of a window that should have been emitted."""
        return len(self.unexplained) + sum(self.missing.values())

    @property
    def records(self) -> int:
        late, rejected = self.late.total(), self.rejected.total()
        return self.in_windows + self.in_open_windows + late + rejected + self.unread + self.in_none


class Ledger:
    """Takes in the rejects and the windows, then the records of the raw topic, and closes the books over them.

    It is a snapshot at the last token of `progress` when it was made: what belongs to later batches is not judged.
    """

    def __init__(self, progress: Progress) -> None:
        self._length = progress.window_seconds * 1000
        self._watermark = progress.watermark
        self._offsets = progress.offsets
        # The steps that are still to come, by partition, and the one at hand.
        self._steps = {partition: iter(tuple(steps)) for partition, steps in progress.steps.items()}
        self._step: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))

        self._rows = self._counted = self._rejects = 0
        self._emitted: dict[int, dict[int, int]] = defaultdict(dict)  # count by start and vehicle
        self._twice: dict[Window, int] = {}
        self._ahead: dict[Window, int] = {}
        self._reasons: dict[int, dict[int, str]] = defaultdict(dict)  # of the rejects, by partition and offset
        self._rejected_twice: list[Place] = []
        self._rejected_ahead: list[Place] = []
        self._malformed: list[tuple[str, int, int]] = []

        self._windows: dict[int, dict[int, int]] = defaultdict(dict)  # counted again, by start and vehicle
        self._late: Counter[Window] = Counter()
        self._rejected: Counter[str] = Counter()
        self._unexplained: list[Place] = []
        # A vehicle's seqs as bits, 256 to a number: a bit for each where they are dense, an entry where they are not.
        self._seqs: dict[int, dict[int, int]] = defaultdict(dict)
        self._highest: dict[int, dict[int, int]] = defaultdict(dict)  # seq by partition and vehicle
        self._duplicates = self._out_of_order = 0

    def add_window(self, partition: int, offset: int, value: bytes | None) -> None:
        """A record of the topic of windows, and where it is."""
        self._rows += 1
        try:
            row = json.loads(value or b"")
            start, entity, count = millis(row["window_start"]), int(row["entity"]), int(row["count"])
        except (ValueError, TypeError, KeyError, OverflowError):
            self._malformed.append((AGGREGATED, partition, offset))
            return
        self._counted += count
        if start + self._length > self._watermark:
            self._ahead[start, entity] = count
        elif entity in self._emitted[start]:
            self._twice[start, entity] = count
        else:
            self._emitted[start][entity] = count

    def add_reject(self, partition: int, offset: int, value: bytes | None) -> None:
        """A record of the topic of rejects, and where it is itself."""
        self._rejects += 1
        try:
            row = json.loads(value or b"")
            of_partition, of_offset, reason = int(row["partition"]), int(row["offset"]), str(row["reason"])
        except (ValueError, TypeError, KeyError, OverflowError):
            self._malformed.append((REJECTED, partition, offset))
            return
        if of_offset >= self._offsets.get(of_partition, 0):
            self._rejected_ahead.append((of_partition, of_offset))
        elif of_offset in self._reasons[of_partition]:
            self._rejected_twice.append((of_partition, of_offset))
        else:
            self._reasons[of_partition][of_offset] = sys.intern(reason)  # few reasons, many rejects

    def add_records(self, partition: int, records: Iterable[tuple[int, bytes | None]]) -> None:
        """Offsets and values of a partition of the raw topic, in its order, each once and after all rejects.

        Records that the windows job has not read yet may be among them and are passed over.
        """
        # Millions of records pass here: what doesn't change is looked up before, and nothing is built for a record.
        loads, length, second = _loads, self._length, _second
        reasons, highest = self._reasons[partition], self._highest[partition]
        windows, seqs = self._windows, self._seqs
        step_end, watermark = self._step[partition]
        for offset, value in records:
            if offset >= step_end:
                step_end, watermark = self._step[partition] = self._step_of(partition, offset)
                if offset >= step_end:
                    return
            if offset in reasons:
                self._rejected[reasons.pop(offset)] += 1  # what stays behind names no record
                continue
            try:
                reading = loads(value)
                time, entity = reading["time"], reading["entity"]
                start = (second(time[:19]) if time[-1] == "Z" else millis(time)) // length * length
                seq = reading.get("seq")
                if type(entity) is not int:
                    raise ValueError
            except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError):
                self._unexplained.append((partition, offset))
                continue

            on_time = start + length > watermark
            if on_time:
                counts = windows[start]
                counts[entity] = counts.get(entity, 0) + 1
            else:
                self._late[start, entity] += 1

            if type(seq) is int and -MAX_SEQ - 1 <= seq <= MAX_SEQ:
                blocks, bit = seqs[entity], 1 << (seq & 255)
                before = blocks.get(seq >> 8, 0)
                blocks[seq >> 8] = before | bit
                if before & bit:
                    self._duplicates += 1
                elif (last := highest.get(entity)) is None or seq > last:
                    highest[entity] = seq
                elif on_time:
                    self._out_of_order += 1

    def _step_of(self, partition: int, offset: int) -> tuple[int, int]:
        """The step of Progress that holds `offset`, which is after those asked for before; else one that has ended."""
        return next((step for step in self._steps.get(partition, iter(())) if step[0] > offset), (0, 0))

    def close(self, first: Mapping[int, int], end: Mapping[int, int]) -> Books:
        """The books over what was taken in; `first` and `end` (exclusive) are the raw topic's offsets by partition."""
        in_windows = in_open_windows = 0
        missing: dict[Window, int] = {}
        wrong: dict[Window, tuple[int, int]] = {}
        for start, counts in self._windows.items():
            if start + self._length > self._watermark:
                in_open_windows += sum(counts.values())
                continue
            emitted = self._emitted.get(start, _NOTHING)
            for entity, count in counts.items():
                if entity not in emitted:
                    missing[start, entity] = count
                    continue
                in_windows += count
                if emitted[entity] != count:
                    wrong[start, entity] = (count, emitted[entity])
        too_many = {
            (start, entity): count
            for start, counts in self._emitted.items()
            for entity, count in counts.items()
            if entity not in self._windows.get(start, _NOTHING)
        }
        nowhere = [
            (partition, offset)
            for partition, reasons in self._reasons.items()
            for offset in reasons
            if offset >= first.get(partition, 0)
        ]
        valid = in_windows + in_open_windows + self._late.total() + sum(missing.values())
        return Books(
            window_seconds=self._length // 1000,
            in_windows=in_windows,
            in_open_windows=in_open_windows,
            late=self._late,
            rejected=self._rejected,
            unread=unread(self._offsets, first, end),
            kafka=Rows(valid, self._rows, self._counted, self._rejects, len(self._twice)),
            duplicates=self._duplicates,
            gaps=sum(map(_gaps, self._seqs.values())),
            out_of_order=self._out_of_order,
            removed={partition: offset for partition, offset in first.items() if offset},
            lost={p: end.get(p, 0) for p, read_up_to in self._offsets.items() if read_up_to > end.get(p, 0)},
            unexplained=self._unexplained,
            missing=missing,
            wrong=wrong,
            too_many=too_many,
            twice=self._twice,
            ahead=self._ahead,
            rejected_twice=self._rejected_twice,
            rejected_nowhere=nowhere,
            rejected_ahead=self._rejected_ahead,
            malformed=self._malformed,
        )


def unread(offsets: Mapping[int, int], first: Mapping[int, int], end: Mapping[int, int]) -> int:
    """How many records there are from `offsets`, up to which was read, to `end`; `first` are there from."""
    return sum(max(0, end[p] - max(offsets.get(p, 0), first.get(p, 0))) for p in end)


def millis(time: str) -> int:
    """Milliseconds since the epoch of an ISO 8601 time; raises ValueError, or TypeError where it has no zone."""
    return (datetime.fromisoformat(time) - _EPOCH) // timedelta(milliseconds=1)


def _loads(value: bytes | None) -> Any:
    """The JSON of a record; raises ValueError or TypeError where it holds none."""
    try:
        return json.loads(value)  # type: ignore[arg-type]
    except RecursionError:
        return json.loads(_flat(value))  # type: ignore[arg-type]


def _flat(value: bytes) -> str:
    """A JSON object without what is nested in its fields: that may be nested deeper than json.loads can go."""
    parts, depth = [], 0
    for token in _TOKENS.findall(value.decode(json.detect_encoding(value))):
        depth -= token in ("]", "}")
        if depth == 0 or (depth == 1 and token not in ("{", "[", "]", "}")):
            parts.append(token)
        elif depth == 1 and token in ("{", "["):
            parts.append("null")
        depth += token in ("{", "[")
    return "".join(parts)


@lru_cache(maxsize=10_000)
def _second(time: str) -> int:
    """Milliseconds since the epoch of "YYYY-MM-DDTHH:MM:SS", UTC. Windows start at full seconds: it needs no more."""
    return millis(time.removesuffix("Z") + "Z")


def _gaps(blocks: dict[int, int]) -> int:
    """How many seqs are missing between the lowest and the highest: computed, for there may be very many."""
    lowest, highest = min(blocks), max(blocks)
    low = lowest * 256 + (blocks[lowest] & -blocks[lowest]).bit_length() - 1
    high = highest * 256 + blocks[highest].bit_length() - 1
    return high - low + 1 - sum(block.bit_count() for block in blocks.values())
