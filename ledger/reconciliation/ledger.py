"""The arithmetic: what became of every record of the raw topic. Pure: no Kafka, no clock.

The job's progress tokens say what each batch has read and where its watermark stood. From that follows what must have
become of a valid record: it is late if its window ended at or below the watermark of its batch, else it counts in its
window. The first batch whose watermark has reached the end of a window emits it.

What is right and can't change any more becomes a sum, so the memory depends on the open windows, the vehicles and what
is wrong. The sums and the open windows are the state from which a later run goes on.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from reconciliation.job_records import Late, Rejected
from reconciliation.json_values import UNREADABLE, event_time, loads, vehicle
from reconciliation.progress import Progress, Step
from reconciliation.result import UNREAD, Cut, Place, Reconciliation, Rows, Window
from reconciliation.sequences import Sequences
from reconciliation.windows import Windows

_NO_STEP = Step(0, 0, 0)


class StateMismatch(Exception):
    """The state of an earlier run can't be used; the text says why."""


class Ledger:
    """Takes in what the job has written, then the records of the raw topic, and reconciles them.

    go_on() says up to which token: what later batches have written is left out. A long topic comes in parts, each with
    a go_on() of its own. `state` is that of an earlier Ledger.
    """

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        self.windows, self.rejected, self.late, self._sequences = Windows(), Rejected(), Late(), Sequences()
        self.cut = UNREAD
        self._job_records = self._job_late = 0
        self._unread = 0
        self._in_windows = 0  # readings of emitted windows that are verified
        self._recent: Counter[int] = Counter()  # of these and the late ones, the recent ones by their windows' start
        # From earlier runs: up to where the topics are verified, by role, the offsets that retention had removed before
        # that, and what is excused by them
        self._begin: Mapping[str, Mapping[int, int]] = {}
        self._removed: Mapping[str, Mapping[int, int]] = {}
        self._removed_windows = self._in_removed_windows = self._removed_late = self._excused = 0
        self._verified_before = 0
        if state:
            self._load(state)

    def go_on(self, progress: Progress) -> None:
        """Continue with the tokens of `progress`, up to its last. Raises StateMismatch when a state can't be used."""
        every_length = math.lcm(*progress.lengths)
        boundary = progress.watermark // every_length * every_length if progress.lengths else 0
        if boundary < self.cut.boundary:
            raise StateMismatch("the windows have another length than before")
        self._judge_up_to(Cut(progress.offsets, progress.watermark, boundary))
        self._job_records += progress.records
        self._job_late += progress.late
        # By partition, the steps that are still to come and the present one.
        self._steps = {partition: iter(tuple(steps)) for partition, steps in progress.steps.items()}
        self._step: dict[int, Step] = defaultdict(lambda: _NO_STEP)

    def _judge_up_to(self, cut: Cut) -> None:
        self.cut = cut
        self.rejected.go_on(cut)
        self.late.go_on(cut)
        verified = self.windows.go_on(cut)
        self._in_windows += verified.total()
        recent = self._recent + verified
        self._recent = Counter({start: number for start, number in recent.items() if start >= cut.boundary})

    def add_records(self, partition: int, records: Iterable[tuple[int, bytes | None]]) -> None:
        """Add offsets and values of a partition of the raw topic, in its order, each once, after all that was written.

        Records that the windows job has not read yet are only counted.
        """
        # Millions of records pass here: lookups that don't change are made before the loop, and no object per record.
        reasons, add_seq = self.rejected.expected[partition], self._sequences.add
        step_end, watermark, length = self._step[partition]
        windows = self.windows.counts[length]
        for offset, value in records:
            if offset >= step_end:
                step_end, watermark, length = self._step[partition] = self._step_of(partition, offset)
                windows = self.windows.counts[length]
                if offset >= step_end:
                    self._unread += 1
                    continue
            if offset in reasons:
                self.rejected.reasons[reasons.pop(offset)] += 1  # those that stay are not in the raw topic
                continue
            try:
                reading = loads(value)
                start = event_time(reading) // length * length
                entity = vehicle(reading["entity"])
                seq = reading.get("seq")
            except UNREADABLE:
                self.rejected.unexplained[partition, offset] = None
                continue

            on_time = start + length > watermark
            if on_time:
                counts = windows[start]
                counts[entity] = counts.get(entity, 0) + 1
            else:
                self.late.count((partition, offset), Window(start, start + length, entity), watermark)
                if start >= self.cut.boundary:
                    self._recent[start] += 1
            add_seq(partition, entity, seq, on_time)

    def _step_of(self, partition: int, offset: int) -> Step:
        """The step of Progress that holds `offset`, which only grows from call to call; an empty one after the last."""
        return next((step for step in self._steps.get(partition, iter(())) if step.end > offset), _NO_STEP)

    def close(self, first: Mapping[str, Mapping[int, int]], end: Mapping[int, int], latest: Progress) -> Reconciliation:
        """Reconcile what was added.

        `first` holds the first offsets of the topics, by role and partition, and `end` the raw topic's end offsets
        (exclusive). `latest` knows the tokens after those of the snapshot, up to the last record that was added.
        """
        windows, rejected, late = self.windows, self.rejected, self.late
        emitted, in_open_windows, missing, wrong = windows.compared()
        in_windows = self._in_windows + emitted
        removed = self._removed_up_to(first)
        removed_windows, in_removed_windows = self._removed_windows, self._in_removed_windows
        removed_late, late_missing = self._removed_late, list(late.missing)
        valid = in_windows + in_open_windows + in_removed_windows + late.readings() + sum(missing.values())
        if removed_windows + len(missing) <= sum(removed.get("aggregated", {}).values()):
            removed_windows += len(missing)
            in_removed_windows += sum(missing.values())
            missing = {}
        if removed_late + len(late_missing) <= sum(removed.get("late", {}).values()):
            removed_late, late_missing = removed_late + len(late_missing), []
        read = self._in_windows + self._in_removed_windows + windows.readings() + late.readings()
        read += rejected.reasons.total() + len(rejected.unexplained)
        whole = not {"raw", "progress"} & removed.keys()
        topics: dict[str, Rejected | Late | Windows] = {"rejected": rejected, "late": late, "aggregated": windows}
        return Reconciliation(
            cut=self.cut,
            in_windows=in_windows,
            in_open_windows=in_open_windows,
            late=late.windows,
            more_late=late.more,
            rejected=rejected.reasons,
            unread=self._unread,
            kafka=Rows(
                readings=valid,
                recent_readings=(self._recent + windows.recent()).total(),
                windows=windows.rows,
                readings_in_windows=windows.readings_in_rows,
                late=late.rows,
                rejected=rejected.rows,
                duplicate_windows=len(windows.duplicates),
            ),
            removed=removed,
            removed_windows=removed_windows,
            in_removed_windows=in_removed_windows,
            removed_late=removed_late,
            excused=self._excused,
            verified_before=self._verified_before,
            duplicates=self._sequences.duplicates,
            gaps=self._sequences.gaps(),
            out_of_order=self._sequences.out_of_order,
            too_short={p: end.get(p, 0) for p, read_up_to in self.cut.offsets.items() if read_up_to > end.get(p, 0)},
            unexplained=list(rejected.unexplained),
            missing=missing,
            wrong=wrong,
            without_readings=windows.without_readings(),
            duplicate_windows=windows.duplicates,
            early_windows={
                window: count
                for window, count in windows.later.items()
                if window.end > max(self.cut.watermark, latest.watermark)
            },
            rejected_twice=rejected.twice,
            rejected_missing=_left_over(rejected.expected, first["raw"]),
            late_twice=late.twice,
            late_missing=late_missing,
            not_late=_left_over(late.expected, first["raw"]),
            late_wrong=late.wrong,
            early=[place for place in (*rejected.later, *late.later) if place[1] >= latest.offsets.get(place[0], 0)],
            malformed=[(role, *place) for role, topic in topics.items() for place in topic.malformed],
            again=[(role, *place) for role, topic in topics.items() for place in topic.again],
            job_records=self._job_records - read if whole else 0,
            job_late=self._job_late - late.readings() if whole else 0,
        )

    def _removed_up_to(self, first: Mapping[str, Mapping[int, int]]) -> dict[str, dict[int, int]]:
        """The number of offsets that retention had removed before they were verified, by role and partition."""
        found: dict[str, dict[int, int]] = {}
        for role, offsets in first.items():
            before, begin = self._removed.get(role, {}), self._begin.get(role, {})
            numbers = {p: before.get(p, 0) + max(0, offset - begin.get(p, 0)) for p, offset in offsets.items()}
            found[role] = {p: number for p, number in numbers.items() if number}
        return {role: numbers for role, numbers in found.items() if numbers}

    def state(self, found: Reconciliation) -> dict[str, Any]:
        """What a later run goes on from, ready for JSON, after close() has `found` nothing wrong."""
        excused = sum(emitted - expected for expected, emitted in found.wrong.values())
        return {
            "offsets": _pairs_of(self.cut.offsets),
            "watermark": self.cut.watermark,
            "boundary": self.cut.boundary,
            "records": found.records - found.unread,
            "job": [self._job_records, self._job_late],
            "in_windows": found.in_windows,
            "recent": _pairs_of(self._recent + self.windows.recent(self.cut.watermark)),
            "open": self.windows.still_open(),
            "removed": {role: _pairs_of(numbers) for role, numbers in found.removed.items()},
            "removed_windows": [found.removed_windows, found.in_removed_windows],
            "removed_late": found.removed_late,
            "excused": found.excused + excused + sum(found.without_readings.values()),
            "rows": [self.windows.rows, self.windows.readings_in_rows],
            "rows_about": {"rejected": self.rejected.rows, "late": self.late.rows},
            "late": [[*window, number] for window, number in self.late.windows.items()],
            "more_late": self.late.more,
            "rejected": self.rejected.reasons,
            **self._sequences.state(),
        }

    def _load(self, state: Mapping[str, Any]) -> None:
        self._judge_up_to(Cut(dict(state["offsets"]), state["watermark"], state["boundary"]))
        self._verified_before = state["records"]
        self._job_records, self._job_late = state["job"]
        self._in_windows, self._recent = state["in_windows"], Counter(dict(state["recent"]))
        for length, start, counts in state["open"]:
            self.windows.counts[length][start] = counts
        self._removed = {role: dict(numbers) for role, numbers in state["removed"].items()}
        self._begin = {role: dict(offsets) for role, offsets in state["positions"].items()}
        self._removed_windows, self._in_removed_windows = state["removed_windows"]
        self._removed_late, self._excused = state["removed_late"], state["excused"]
        self.windows.rows, self.windows.readings_in_rows = state["rows"]
        self.rejected.rows, self.late.rows = state["rows_about"]["rejected"], state["rows_about"]["late"]
        self.late.windows = Counter({Window(start, end, entity): n for start, end, entity, n in state["late"]})
        self.late.more, self.rejected.reasons = state["more_late"], Counter(state["rejected"])
        self._sequences.load(state)


def _pairs_of(mapping: Mapping[int, int]) -> list[tuple[int, int]]:
    """A mapping for JSON, whose objects have no numbers as names."""
    return list(mapping.items())


def _left_over(places: Mapping[int, Mapping[int, object]], first: Mapping[int, int]) -> list[Place]:
    """What no record of the raw topic belongs to, unless retention has removed that record."""
    return [
        (partition, offset)
        for partition, offsets in places.items()
        for offset in offsets
        if offset >= first.get(partition, 0)
    ]
