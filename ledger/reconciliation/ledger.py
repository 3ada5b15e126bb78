"""The arithmetic: what became of every record of the raw topic. Pure: no Kafka, no clock.

The job's progress tokens say what each batch has read and where its watermark stood. From that follows what must have
become of a valid record: it is late if its window ended at or below the watermark before its batch, else it counts in
its window. The first batch whose own watermark has reached the end of a window emits it.
"""

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from reconciliation.json_values import loads, millis, second
from reconciliation.progress import Progress, unread
from reconciliation.result import Place, Reconciliation, Rows, Window

MAX_SEQ = 2**63 - 1  # The job and Druid have 64-bit integers; a larger seq counts as missing.

_EMPTY: dict[int, int] = {}


class Ledger:
    """Takes in the rejected records and the windows, then the records of the raw topic, and reconciles them.

    It is a snapshot at the last token that `progress` has at the creation: later batches are not judged.
    """

    def __init__(self, progress: Progress) -> None:
        self._length = progress.window_seconds * 1000
        self._watermark = progress.watermark
        self._offsets = progress.offsets
        # By partition, the steps that are still to come and the present one.
        self._steps = {partition: iter(tuple(steps)) for partition, steps in progress.steps.items()}
        self._step: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))

        self._rows = self._readings_in_rows = self._rejected_rows = 0
        self._emitted: dict[int, dict[int, int]] = defaultdict(dict)  # count by start and vehicle
        self._duplicate_windows: dict[Window, int] = {}
        self._early_windows: dict[Window, int] = {}
        self._reasons: dict[int, dict[int, str]] = defaultdict(dict)  # of rejected records, by partition and offset
        self._rejected_twice: list[Place] = []
        self._rejected_early: list[Place] = []
        self._malformed: list[tuple[str, int, int]] = []

        self._windows: dict[int, dict[int, int]] = defaultdict(dict)  # as counted here, by start and vehicle
        self._late: Counter[Window] = Counter()
        self._rejected: Counter[str] = Counter()
        self._unexplained: list[Place] = []
        # A vehicle's seqs as bits, 256 to a number: a bit for each where they are dense, an entry where they are not.
        self._seqs: dict[int, dict[int, int]] = defaultdict(dict)
        self._highest: dict[int, dict[int, int]] = defaultdict(dict)  # seq by partition and vehicle
        self._duplicates = self._out_of_order = 0

    def add_window(self, partition: int, offset: int, value: bytes | None) -> None:
        """Add a record of the aggregated topic, from this place in it."""
        self._rows += 1
        try:
            row = json.loads(value or b"")
            start, entity, count = millis(row["window_start"]), int(row["entity"]), int(row["count"])
        except (ValueError, TypeError, KeyError, OverflowError):
            self._malformed.append(("aggregated", partition, offset))
            return
        self._readings_in_rows += count
        if start + self._length > self._watermark:
            self._early_windows[start, entity] = count
        elif entity in self._emitted[start]:
            self._duplicate_windows[start, entity] = count
        else:
            self._emitted[start][entity] = count

    def add_rejected(self, partition: int, offset: int, value: bytes | None) -> None:
        """Add a record of the rejected topic, from this place in it."""
        self._rejected_rows += 1
        try:
            row = json.loads(value or b"")
            of_partition, of_offset, reason = int(row["partition"]), int(row["offset"]), str(row["reason"])
        except (ValueError, TypeError, KeyError, OverflowError):
            self._malformed.append(("rejected", partition, offset))
            return
        if of_offset >= self._offsets.get(of_partition, 0):
            self._rejected_early.append((of_partition, of_offset))
        elif of_offset in self._reasons[of_partition]:
            self._rejected_twice.append((of_partition, of_offset))
        else:
            self._reasons[of_partition][of_offset] = sys.intern(reason)  # few reasons, many records

    def add_records(self, partition: int, records: Iterable[tuple[int, bytes | None]]) -> None:
        """Add offsets and values of a partition of the raw topic, in its order, each once, after all rejected records.

        Records that the windows job has not read yet are ignored.
        """
        # Millions of records pass here: lookups that don't change are made before the loop, and no object per record.
        length = self._length
        reasons, highest = self._reasons[partition], self._highest[partition]
        windows, seqs = self._windows, self._seqs
        step_end, watermark = self._step[partition]
        for offset, value in records:
            if offset >= step_end:
                step_end, watermark = self._step[partition] = self._step_of(partition, offset)
                if offset >= step_end:
                    return
            if offset in reasons:
                self._rejected[reasons.pop(offset)] += 1  # those that stay are not in the raw topic
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
        """The step of Progress that holds `offset`, which only grows from call to call; (0, 0) after the last step."""
        return next((step for step in self._steps.get(partition, iter(())) if step[0] > offset), (0, 0))

    def close(self, first: Mapping[int, int], end: Mapping[int, int]) -> Reconciliation:
        """Reconcile what was added; `first` and `end` (exclusive) are the raw topic's offsets by partition."""
        in_windows = in_open_windows = 0
        missing: dict[Window, int] = {}
        wrong: dict[Window, tuple[int, int]] = {}
        for start, counts in self._windows.items():
            if start + self._length > self._watermark:
                in_open_windows += sum(counts.values())
                continue
            emitted = self._emitted.get(start, _EMPTY)
            for entity, count in counts.items():
                if entity not in emitted:
                    missing[start, entity] = count
                    continue
                in_windows += count
                if emitted[entity] != count:
                    wrong[start, entity] = (count, emitted[entity])
        without_readings = {
            (start, entity): count
            for start, counts in self._emitted.items()
            for entity, count in counts.items()
            if entity not in self._windows.get(start, _EMPTY)
        }
        rejected_missing = [
            (partition, offset)
            for partition, reasons in self._reasons.items()
            for offset in reasons
            if offset >= first.get(partition, 0)
        ]
        valid = in_windows + in_open_windows + self._late.total() + sum(missing.values())
        return Reconciliation(
            window_seconds=self._length // 1000,
            in_windows=in_windows,
            in_open_windows=in_open_windows,
            late=self._late,
            rejected=self._rejected,
            unread=unread(self._offsets, first, end),
            kafka=Rows(
                readings=valid,
                windows=self._rows,
                readings_in_windows=self._readings_in_rows,
                rejected=self._rejected_rows,
                duplicate_windows=len(self._duplicate_windows),
            ),
            duplicates=self._duplicates,
            gaps=sum(map(_gaps, self._seqs.values())),
            out_of_order=self._out_of_order,
            removed={partition: offset for partition, offset in first.items() if offset},
            too_short={p: end.get(p, 0) for p, read_up_to in self._offsets.items() if read_up_to > end.get(p, 0)},
            unexplained=self._unexplained,
            missing=missing,
            wrong=wrong,
            without_readings=without_readings,
            duplicate_windows=self._duplicate_windows,
            early_windows=self._early_windows,
            rejected_twice=self._rejected_twice,
            rejected_missing=rejected_missing,
            rejected_early=self._rejected_early,
            malformed=self._malformed,
        )


def _gaps(blocks: dict[int, int]) -> int:
    """The seqs missing between the lowest and the highest, computed from the bits: there may be very many."""
    lowest, highest = min(blocks), max(blocks)
    low = lowest * 256 + (blocks[lowest] & -blocks[lowest]).bit_length() - 1
    high = highest * 256 + blocks[highest].bit_length() - 1
    return high - low + 1 - sum(block.bit_count() for block in blocks.values())
