"""The result of a reconciliation."""

from collections import Counter
from dataclasses import dataclass

Window = tuple[int, int]  # its start in milliseconds since the epoch, and its vehicle
Place = tuple[int, int]  # a partition of the raw topic, and an offset in it


@dataclass(frozen=True)
class Rows:
    """What Kafka's topics or Druid's datasources hold."""

    readings: int  # valid ones
    windows: int
    readings_in_windows: int  # the sum of the windows' counts
    rejected: int
    duplicate_windows: int  # windows that appear more than once


@dataclass(frozen=True)
class Reconciliation:
    """What became of the records that the windows job has read, and what is wrong with that."""

    window_seconds: int
    in_windows: int  # readings of emitted windows, counted from the raw topic
    in_open_windows: int
    late: Counter[Window]  # readings that came after their window was closed
    rejected: Counter[str]  # records by the reason of their rejection
    unread: int  # records that the windows job has not read yet
    kafka: Rows

    duplicates: int  # of (vehicle, seq)
    gaps: int  # seqs missing between the lowest and the highest of each vehicle
    out_of_order: int  # readings behind a higher seq of their vehicle in their partition; neither late nor duplicates

    # Errors. Windows with the count that was emitted or expected, or with (expected, emitted).
    removed: dict[int, int]  # the first offset of partitions whose beginning retention has removed
    too_short: dict[int, int]  # the end of partitions that end before the offset that the windows job has read
    unexplained: list[Place]  # invalid records that were not rejected
    missing: dict[Window, int]
    wrong: dict[Window, tuple[int, int]]
    without_readings: dict[Window, int]
    duplicate_windows: dict[Window, int]
    early_windows: dict[Window, int]  # emitted before the watermark reached their end
    rejected_twice: list[Place]
    rejected_missing: list[Place]  # rejected records that the raw topic doesn't hold
    rejected_early: list[Place]  # records rejected before the windows job has read them
    malformed: list[tuple[str, int, int]]  # role of the topic, partition and offset of the job's invalid records

    # The windows job went on during the count: then early records are of later batches and not wrong.
    outdated: bool = False

    @property
    def in_none(self) -> int:
        """Records that no other figure counts: invalid and not rejected, or of a window that was not emitted."""
        return len(self.unexplained) + sum(self.missing.values())

    @property
    def records(self) -> int:
        late, rejected = self.late.total(), self.rejected.total()
        return self.in_windows + self.in_open_windows + late + rejected + self.unread + self.in_none
