"""What the windows job has done, from its progress tokens."""

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

Offsets = dict[int, int]  # by partition


class Step(NamedTuple):
    """Records below `end`, down to the step before, were read by batches of this watermark."""

    end: int  # an offset, exclusive
    watermark: int  # milliseconds since the epoch
    length: int  # of the windows, in milliseconds


class Progress:
    """How far the job has read the raw topic, and where its watermark stood."""

    def __init__(self, raw_topic: str) -> None:
        self._raw_topic = raw_topic
        self.watermark = 0  # of the last token, in milliseconds since the epoch
        self.offsets: Offsets = {}  # exclusive
        self.begin: Offsets = {}  # as the first token has them: where those before it ended is known no more
        # By partition. Batches with the same watermark share a step, which saves memory.
        self.steps: dict[int, list[Step]] = defaultdict(list)
        self.lengths: set[int] = set()  # all that the windows ever had
        self.records = self.late = 0  # as the job counts them, in all batches
        self.ignored: list[bytes | None] = []  # the first record that is not a progress token

    @classmethod
    def resumed(cls, raw_topic: str, state: Mapping[str, Any]) -> "Progress":
        """What the job has done after an earlier run of the ledger."""
        progress = cls(raw_topic)
        progress.watermark, progress.offsets = state["watermark"], dict(state["offsets"])
        progress.lengths = set(state["lengths"])
        return progress

    def following(self) -> "Progress":
        """What the job does next: no steps and counts yet, from where this one ends."""
        progress = Progress(self._raw_topic)
        progress.watermark, progress.offsets, progress.lengths = self.watermark, self.offsets, self.lengths
        return progress

    def add(self, value: bytes | None) -> None:
        """Add the next record of the topic. Of what is not a token, the first is kept in `ignored`."""
        try:
            token = json.loads(value or b"")
            length, watermark = int(token["window_seconds"]) * 1000, int(token["watermark"])
            records, late = int(token["records"]), int(token["late"])
            ends = token["offsets"].get(self._raw_topic, {})
            offsets = {int(partition): int(end) for partition, end in ends.items()}
            if length < 1:
                raise ValueError
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            self.ignored = self.ignored or [value]
            return
        for partition, end in offsets.items():
            if end > self.offsets.get(partition, 0):
                steps = self.steps[partition]
                if steps and steps[-1][1:] == (watermark, length):
                    steps.pop()
                steps.append(Step(end, watermark, length))
        self.begin = self.begin or offsets
        self.watermark = watermark
        self.lengths = self.lengths | {length}
        self.offsets = self.offsets | offsets
        self.records += records
        self.late += late

    def has_read(self, first: Mapping[int, int], end: Mapping[int, int]) -> bool:
        """Whether the job has read everything from `first` (where the topic begins) to `end` (exclusive)."""
        return all(max(self.offsets.get(p, 0), first.get(p, 0)) >= end[p] for p in end)
