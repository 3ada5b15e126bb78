"""What the windows job has done, from its progress tokens."""

import json
from collections import defaultdict
from collections.abc import Mapping

Offsets = dict[int, int]  # by partition


class Progress:
    """How far the job has read the raw topic, and where its watermark stood."""

    def __init__(self, raw_topic: str) -> None:
        self._raw_topic = raw_topic
        self.window_seconds = 0
        self.watermark = 0  # of the last token, in milliseconds since the epoch
        self.offsets: Offsets = {}  # exclusive
        # By partition, (offset, watermark): records below the offset, down to the step before, were read by batches
        # that began with this watermark. Batches with the same watermark share a step, which saves memory.
        self.steps: dict[int, list[tuple[int, int]]] = defaultdict(list)

    def add(self, token: bytes) -> None:
        """Add the next token of the topic. Raises ValueError if it is invalid or the window length has changed."""
        try:
            values = json.loads(token)
            seconds, watermark = int(values["window_seconds"]), int(values["watermark"])
            ends = values["offsets"].get(self._raw_topic, {})
            offsets = {int(partition): int(end) for partition, end in ends.items()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"a progress token of the windows job is invalid ({error!r}): {token[:200]!r}") from error
        if seconds < 1 or self.window_seconds not in (0, seconds):
            raise ValueError(
                f"the windows job changed the length of its windows from {self.window_seconds} to {seconds} seconds"
            )
        for partition, end in offsets.items():
            if end > self.offsets.get(partition, 0):
                steps = self.steps[partition]
                if steps and steps[-1][1] == self.watermark:
                    steps.pop()
                steps.append((end, self.watermark))
        self.window_seconds, self.watermark = seconds, watermark
        self.offsets = self.offsets | offsets


def unread(offsets: Mapping[int, int], first: Mapping[int, int], end: Mapping[int, int]) -> int:
    """The number of records from `offsets` (where reading stopped) or `first` (where the topic begins) to `end`."""
    return sum(max(0, end[p] - max(offsets.get(p, 0), first.get(p, 0))) for p in end)
