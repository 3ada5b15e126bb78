"""The result of a reconciliation."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Window(NamedTuple):
    """A window of a vehicle; start and end in milliseconds since the epoch."""

    start: int
    end: int
    entity: str


Place = tuple[int, int]  # a partition of the raw topic, and an offset in it


class Run(NamedTuple):
    """What a run of the generator says that it has sent."""

    started_at: str
    state: str  # "sending", or how it ended
    sent: int
    acknowledged: int
    failed: int


class Cut(NamedTuple):
    """The place in the data up to which the ledger judges: the end of a batch of the windows job."""

    offsets: Mapping[int, int]  # the end of the batch in each partition of the raw topic, exclusive
    watermark: int  # of the batch, in milliseconds since the epoch: windows that end here or before are emitted
    boundary: int  # the last time at or before the watermark at which windows of every length end


UNREAD = Cut({}, -(2**63), -(2**63))  # before the first batch


@dataclass(frozen=True)
class Rows:
    """What Kafka's topics or Druid's datasources hold of the records up to the cut."""

    readings: int  # valid ones
    recent_readings: int  # of these, the readings whose time is at or after the boundary of the cut
    windows: int
    readings_in_windows: int  # the sum of the windows' counts
    late: int
    rejected: int
    duplicate_windows: int  # windows that appear more than once


@dataclass(frozen=True, kw_only=True)
class Reconciliation:
    """What became of the records that the windows job has read, and what is wrong with that."""

    cut: Cut
    in_windows: int  # readings of emitted windows, counted from the raw topic
    in_open_windows: int
    late: Counter[Window]  # readings that came after their window was closed, of the windows that have most
    more_late: int  # and of all other windows
    rejected: Counter[str]  # records by the reason of their rejection
    unread: int  # records that the windows job has not read yet
    kafka: Rows
    removed: dict[str, dict[int, int]]  # by role of a topic: the first offset of partitions cut by retention
    removed_windows: int  # windows that the aggregated topic may have held before that offset
    in_removed_windows: int  # their readings
    removed_late: int  # late readings that the late topic may have held before that offset
    excused: int  # readings that retention has removed before windows that count them were verified

    duplicates: int  # of (vehicle, seq)
    gaps: int  # seqs missing between the lowest and the highest of each vehicle
    out_of_order: int  # readings behind a higher seq of their vehicle in their partition; neither late nor duplicates

    # Errors. Windows with the count that was emitted or expected, or with (expected, emitted).
    too_short: dict[int, int]  # the end of partitions that end before the offset that the windows job has read
    unexplained: list[Place]  # invalid records that were not rejected
    missing: dict[Window, int]
    wrong: dict[Window, tuple[int, int]]
    without_readings: dict[Window, int]
    duplicate_windows: dict[Window, int]
    early_windows: dict[Window, int]  # emitted before the watermark reached their end
    rejected_twice: list[Place]
    rejected_missing: list[Place]  # rejected records that the raw topic doesn't hold
    late_twice: list[Place]
    late_missing: list[Place]  # late readings that the late topic doesn't hold
    not_late: list[Place]  # records of the late topic whose reading is on time, invalid or not in the raw topic
    late_wrong: list[Place]  # late readings with another vehicle, window or watermark in the late topic
    early: list[Place]  # records that were rejected or late before the windows job has read them
    malformed: list[tuple[str, int, int]]  # role of the topic, partition and offset of the job's invalid records
    again: list[tuple[str, int, int]]  # the same of its records about what was already verified
    job_records: int  # by how many more records, and late readings, the job's tokens count
    job_late: int

    # What is known from elsewhere
    runs: list[Run] = field(default_factory=list)  # of the generator, the oldest first
    held_back: int = 0  # offsets of the raw topic that an open transaction hides
    verified_before: int = 0  # records that an earlier run has verified

    @property
    def in_none(self) -> int:
        """Records that no other figure counts: invalid and not rejected, or of a window that was not emitted."""
        return len(self.unexplained) + sum(self.missing.values())

    @property
    def late_readings(self) -> int:
        return self.late.total() + self.more_late

    @property
    def records(self) -> int:
        windows = self.in_windows + self.in_removed_windows + self.in_open_windows
        return windows + self.late_readings + self.rejected.total() + self.unread + self.in_none

    @property
    def acknowledged(self) -> int:
        """Records that Kafka has acknowledged to all runs of the generator."""
        return sum(run.acknowledged for run in self.runs)

    def removed_from(self, role: str) -> int:
        """The number of offsets that retention has removed from a topic: the most records that it may have held."""
        return sum(self.removed.get(role, {}).values())
