"""The sequence numbers of each vehicle, as ranges without a gap: [lowest, highest, lowest, highest, ...], ascending."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

REMEMBERED_GAPS = 1000  # of a vehicle, the newest ones: a vehicle's memory stays small, whatever it sends
MAX_SEQ = 2**63 - 1  # The job and Druid have 64-bit integers; a larger seq counts as missing.


class Sequences:
    """The sequence numbers of all vehicles, and what they say about their readings."""

    def __init__(self) -> None:
        self.duplicates = self.out_of_order = 0
        self._forgotten_gaps = 0
        self._ranges: dict[str, list[int]] = defaultdict(list)  # by vehicle
        self._highest: dict[int, dict[str, int]] = defaultdict(dict)  # by partition and vehicle

    def add(self, partition: int, entity: str, seq: Any, on_time: bool) -> None:
        """Add the seq of the next reading of this partition. What is not a seq is ignored."""
        if type(seq) is not int or not -MAX_SEQ - 1 <= seq <= MAX_SEQ:
            return
        ranges = self._ranges[entity]
        if ranges and ranges[-1] == seq - 1:  # as nearly always
            ranges[-1] = seq
        elif not add(ranges, seq):
            self.duplicates += 1
            return
        elif len(ranges) > 4 * REMEMBERED_GAPS:  # twice as many as forget() leaves
            self._forgotten_gaps += forget(ranges)
        highest = self._highest[partition]
        if (last := highest.get(entity)) is None or seq > last:
            highest[entity] = seq
        elif on_time:
            self.out_of_order += 1

    def gaps(self) -> int:
        return self._forgotten_gaps + sum(map(gaps, self._ranges.values()))

    def state(self) -> dict[str, Any]:
        """What load() takes, ready for JSON."""
        return {
            "seqs": self._ranges,
            "highest": list(self._highest.items()),  # JSON's objects have no numbers as names
            "duplicates": self.duplicates,
            "out_of_order": self.out_of_order,
            "forgotten_gaps": self._forgotten_gaps,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self._ranges.update(state["seqs"])
        self._highest.update(dict(state["highest"]))
        self.duplicates, self.out_of_order = state["duplicates"], state["out_of_order"]
        self._forgotten_gaps = state["forgotten_gaps"]


def add(ranges: list[int], seq: int) -> bool:
    """Add a seq to the ranges; whether it is new."""
    at = bisect_left(ranges, seq)
    if at < len(ranges) and (at % 2 or ranges[at] == seq):
        return False  # inside a range, or its lowest
    starts_here, ends_here = at and ranges[at - 1] == seq - 1, at < len(ranges) and ranges[at] == seq + 1
    if starts_here and ends_here:
        del ranges[at - 1 : at + 1]
    elif starts_here:
        ranges[at - 1] = seq
    elif ends_here:
        ranges[at] = seq
    else:
        ranges[at:at] = (seq, seq)
    return True


def gaps(ranges: list[int]) -> int:
    """The seqs missing between the lowest and the highest."""
    return sum(low - high - 1 for high, low in zip(ranges[1:-1:2], ranges[2::2], strict=True))


def forget(ranges: list[int]) -> int:
    """Close the lowest gaps, so that REMEMBERED_GAPS remain; the number of seqs missing in them.

    A seq that comes for one of them counts as a duplicate.
    """
    surplus = ranges[: max(0, len(ranges) - 2 * REMEMBERED_GAPS)]
    if not surplus:
        return 0
    del ranges[1 : len(surplus) - 1]
    return gaps(surplus)
