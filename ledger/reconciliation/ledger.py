"""The arithmetic: what became of every record of the raw topic. Pure: no Kafka, no clock.

The job's progress tokens say what each batch has read and where its watermark stood. From that follows what must have
become of a valid record: it is late if its window ended at or below the watermark of its batch, else it counts in its
window. The first batch whose watermark has reached the end of a window emits it.
"""

import json
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from reconciliation.json_values import UNREADABLE, event_time, loads, millis, vehicle
from reconciliation.progress import Progress, Step
from reconciliation.result import Cut, Place, Reconciliation, Rows, Window
from reconciliation.sequences import gaps

MAX_SEQ = 2**63 - 1  # The job and Druid have 64-bit integers; a larger seq counts as missing.

_EMPTY: dict[str, int] = {}
_NO_STEP = Step(0, 0, 0)


class Ledger:
    """Takes in what the job has written, then the records of the raw topic, and reconciles them.

    It is a snapshot at the last token that `progress` has at the creation. What later batches have written is left
    out.
    """

    def __init__(self, progress: Progress) -> None:
        every_length = math.lcm(*progress.lengths)
        boundary = progress.watermark // every_length * every_length if progress.lengths else 0
        self.cut = Cut(progress.offsets, progress.watermark, boundary)
        self._job_records, self._job_late = progress.records, progress.late
        # By partition, the steps that are still to come and the present one.
        self._steps = {partition: iter(tuple(steps)) for partition, steps in progress.steps.items()}
        self._step: dict[int, Step] = defaultdict(lambda: _NO_STEP)

        self._rows = self._readings_in_rows = self._rejected_rows = self._late_rows = 0
        # Windows by length and start: their counts by vehicle, as emitted and as counted here.
        self._emitted: dict[int, dict[int, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
        self._windows: dict[int, dict[int, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
        self._duplicate_windows: dict[Window, int] = {}
        self._later_windows: dict[Window, int] = {}
        self._later_places: list[Place] = []
        # By partition and offset of the raw topic
        self._reasons: dict[int, dict[int, str]] = defaultdict(dict)
        self._late_records: dict[int, dict[int, tuple[Window, int]]] = defaultdict(dict)  # and the watermark
        self._rejected_twice: list[Place] = []
        self._late_twice: list[Place] = []
        self._late_missing: list[Place] = []
        self._late_wrong: list[Place] = []
        self._malformed: list[tuple[str, int, int]] = []

        self._late: Counter[Window] = Counter()
        self._rejected: Counter[str] = Counter()
        self._unexplained: list[Place] = []
        self._unread = 0
        # A vehicle's seqs as bits, 256 to a number: a bit for each where they are dense, an entry where they are not.
        self._seqs: dict[str, dict[int, int]] = defaultdict(dict)
        self._highest: dict[int, dict[str, int]] = defaultdict(dict)  # seq by partition and vehicle
        self._duplicates = self._out_of_order = 0

    def add_window(self, partition: int, offset: int, value: bytes | None) -> None:
        """Add a record of the aggregated topic, from this place in it."""
        try:
            row = json.loads(value or b"")
            start, end, count = millis(row["window_start"]), millis(row["window_end"]), int(row["count"])
            entity = vehicle(row["entity"])
        except UNREADABLE:
            self._malformed.append(("aggregated", partition, offset))
            return
        if end > self.cut.watermark:
            self._later_windows[Window(start, end, entity)] = count
            return
        self._rows += 1
        self._readings_in_rows += count
        emitted = self._emitted[end - start][start]
        if entity in emitted:
            self._duplicate_windows[Window(start, end, entity)] = count
        else:
            emitted[entity] = count

    def add_rejected(self, partition: int, offset: int, value: bytes | None) -> None:
        """Add a record of the rejected topic, from this place in it."""
        try:
            row = json.loads(value or b"")
            place, reason = (int(row["partition"]), int(row["offset"])), str(row["reason"])
        except UNREADABLE:
            self._malformed.append(("rejected", partition, offset))
            return
        if self._is_later(place):
            self._later_places.append(place)
            return
        self._rejected_rows += 1
        if place[1] in self._reasons[place[0]]:
            self._rejected_twice.append(place)
        else:
            self.restore_rejected(place, reason)

    def restore_rejected(self, place: Place, reason: str) -> None:
        """Add a rejected record that retention has removed from Kafka."""
        partition, offset = place
        self._reasons[partition].setdefault(offset, sys.intern(reason))  # few reasons, many records

    def add_late(self, partition: int, offset: int, value: bytes | None) -> None:
        """Add a record of the late topic, from this place in it."""
        try:
            row = json.loads(value or b"")
            place = int(row["partition"]), int(row["offset"])
            start, end, watermark = (millis(row[name]) for name in ("window_start", "window_end", "watermark"))
            window = Window(start, end, vehicle(row["entity"]))
        except UNREADABLE:
            self._malformed.append(("late", partition, offset))
            return
        if self._is_later(place):
            self._later_places.append(place)
            return
        self._late_rows += 1
        of_partition, of_offset = place
        if of_offset in self._late_records[of_partition]:
            self._late_twice.append(place)
        else:
            self._late_records[of_partition][of_offset] = window, watermark

    def _is_later(self, place: Place) -> bool:
        partition, offset = place
        return offset >= self.cut.offsets.get(partition, 0)

    def add_records(self, partition: int, records: Iterable[tuple[int, bytes | None]]) -> None:
        """Add offsets and values of a partition of the raw topic, in its order, each once, after all that was written.

        Records that the windows job has not read yet are only counted.
        """
        # Millions of records pass here: lookups that don't change are made before the loop, and no object per record.
        reasons, seqs, highest = self._reasons[partition], self._seqs, self._highest[partition]
        step_end, watermark, length = self._step[partition]
        windows = self._windows[length]
        for offset, value in records:
            if offset >= step_end:
                step_end, watermark, length = self._step[partition] = self._step_of(partition, offset)
                windows = self._windows[length]
                if offset >= step_end:
                    self._unread += 1
                    continue
            if offset in reasons:
                self._rejected[reasons.pop(offset)] += 1  # those that stay are not in the raw topic
                continue
            try:
                reading = loads(value)
                start = event_time(reading) // length * length
                entity = vehicle(reading["entity"])
                seq = reading.get("seq")
            except UNREADABLE:
                self._unexplained.append((partition, offset))
                continue

            on_time = start + length > watermark
            if on_time:
                counts = windows[start]
                counts[entity] = counts.get(entity, 0) + 1
            else:
                self._count_late((partition, offset), Window(start, start + length, entity), watermark)

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

    def _count_late(self, place: Place, window: Window, watermark: int) -> None:
        """Count a late reading and compare it with its record in the late topic."""
        self._late[window] += 1
        partition, offset = place
        recorded = self._late_records[partition].pop(offset, None)  # those that stay are not late
        if recorded is None:
            self._late_missing.append(place)
        elif recorded != (window, watermark):
            self._late_wrong.append(place)

    def _step_of(self, partition: int, offset: int) -> Step:
        """The step of Progress that holds `offset`, which only grows from call to call; an empty one after the last."""
        return next((step for step in self._steps.get(partition, iter(())) if step.end > offset), _NO_STEP)

    def close(self, first: Mapping[str, Mapping[int, int]], end: Mapping[int, int], latest: Progress) -> Reconciliation:
        """Reconcile what was added.

        `first` holds the first offsets of the topics, by role and partition, and `end` the raw topic's end offsets
        (exclusive). `latest` knows the tokens after those of the snapshot, up to the last record that was added.
        """
        removed = {role: {p: offset for p, offset in offsets.items() if offset} for role, offsets in first.items()}
        removed = {role: offsets for role, offsets in removed.items() if offsets}
        in_windows = in_open_windows = 0
        missing: dict[Window, int] = {}
        wrong: dict[Window, tuple[int, int]] = {}
        for window, count, emitted in self._pairs():
            if window.end > self.cut.watermark:
                in_open_windows += count
            elif emitted is None:
                missing[window] = count
            else:
                in_windows += count
                if emitted != count:
                    wrong[window] = (count, emitted)
        valid = in_windows + in_open_windows + self._late.total() + sum(missing.values())
        removed_windows: dict[Window, int] = {}
        if len(missing) <= sum(removed.get("aggregated", {}).values()):
            removed_windows, missing = missing, {}
        late_missing, removed_late = self._late_missing, list[Place]()
        if len(late_missing) <= sum(removed.get("late", {}).values()):
            removed_late, late_missing = late_missing, []
        whole = "raw" not in removed
        return Reconciliation(
            cut=self.cut,
            in_windows=in_windows,
            in_open_windows=in_open_windows,
            late=self._late,
            rejected=self._rejected,
            unread=self._unread,
            kafka=Rows(
                readings=valid,
                recent_readings=self._recent_readings(),
                windows=self._rows,
                readings_in_windows=self._readings_in_rows,
                late=self._late_rows,
                rejected=self._rejected_rows,
                duplicate_windows=len(self._duplicate_windows),
            ),
            removed=removed,
            removed_windows=removed_windows,
            removed_late=removed_late,
            duplicates=self._duplicates,
            gaps=sum(map(gaps, self._seqs.values())),
            out_of_order=self._out_of_order,
            too_short={p: end.get(p, 0) for p, read_up_to in self.cut.offsets.items() if read_up_to > end.get(p, 0)},
            unexplained=self._unexplained,
            missing=missing,
            wrong=wrong,
            without_readings=self._without_readings(),
            duplicate_windows=self._duplicate_windows,
            early_windows={
                window: count
                for window, count in self._later_windows.items()
                if window.end > max(self.cut.watermark, latest.watermark)
            },
            rejected_twice=self._rejected_twice,
            rejected_missing=_left_over(self._reasons, first["raw"]),
            late_twice=self._late_twice,
            late_missing=late_missing,
            not_late=_left_over(self._late_records, first["raw"]),
            late_wrong=self._late_wrong,
            early=[place for place in self._later_places if place[1] >= latest.offsets.get(place[0], 0)],
            malformed=self._malformed,
            job_records=self._job_records - self._records_read() if whole else 0,
            job_late=self._job_late - self._late.total() if whole else 0,
        )

    def _pairs(self) -> Iterable[tuple[Window, int, int | None]]:
        """The windows of the readings with the counts that are expected and emitted."""
        for length, starts in self._windows.items():
            for start, counts in starts.items():
                emitted = self._emitted.get(length, {}).get(start, _EMPTY)
                for entity, count in counts.items():
                    yield Window(start, start + length, entity), count, emitted.get(entity)

    def _without_readings(self) -> dict[Window, int]:
        return {
            Window(start, start + length, entity): count
            for length, starts in self._emitted.items()
            for start, counts in starts.items()
            for entity, count in counts.items()
            if entity not in self._windows.get(length, {}).get(start, _EMPTY)
        }

    def _recent_readings(self) -> int:
        """Readings of windows that start at the boundary of the cut or later."""
        on_time = ((start, sum(counts.values())) for each in self._windows.values() for start, counts in each.items())
        late = ((window.start, count) for window, count in self._late.items())
        return sum(count for start, count in (*on_time, *late) if start >= self.cut.boundary)

    def _records_read(self) -> int:
        """Records of the raw topic that the windows job has read."""
        on_time = sum(sum(counts.values()) for starts in self._windows.values() for counts in starts.values())
        return on_time + self._late.total() + self._rejected.total() + len(self._unexplained)


def _left_over(places: Mapping[int, Mapping[int, object]], first: Mapping[int, int]) -> list[Place]:
    """What no record of the raw topic belongs to, unless retention has removed that record."""
    return [
        (partition, offset)
        for partition, offsets in places.items()
        for offset in offsets
        if offset >= first.get(partition, 0)
    ]
