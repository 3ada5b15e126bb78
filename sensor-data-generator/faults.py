"""Faults in what the fleet sends, and the answer key: how many of each were sent. Seeded; no clock, no Kafka."""

import heapq
import json
import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from fleet import Record

Reading = Mapping[str, str | int | float]


def _json(reading: Reading) -> bytes:
    return json.dumps(reading, separators=(",", ":")).encode()


# Every kind of broken record, by name, and how it is made of the reading in whose place it is sent.
MALFORMED: dict[str, Callable[[Reading], bytes]] = {
    "truncated": lambda reading: _json(reading)[: len(_json(reading)) // 2],
    "not_json": lambda reading: b"not a reading",
    "no_time": lambda reading: _json({name: value for name, value in reading.items() if name != "time"}),
    "old_time": lambda reading: _json({**reading, "time": "1970-01-01T00:00:00.000Z"}),
    "future_time": lambda reading: _json({**reading, "time": "2099-01-01T00:00:00.000Z"}),
    "no_entity": lambda reading: _json({name: value for name, value in reading.items() if name != "entity"}),
    "text_temp": lambda reading: _json({**reading, "temp": "warm"}),
    "temp_out_of_range": lambda reading: _json({**reading, "temp": 999.9}),
    "nan_temp": lambda reading: _json({**reading, "temp": float("nan")}),
    "humidity_out_of_range": lambda reading: _json({**reading, "humidity": 250.0}),
}


class Shares(NamedTuple):
    """Which share of the readings, 0 to 1, gets which fault; together 1 or less, as a reading gets at most one."""

    late: float = 0
    out_of_order: float = 0
    duplicate: float = 0
    malformed: float = 0


class Held(NamedTuple):
    """A reading held back. The first three fields order what is held, the soonest first, and differ in every two."""

    release: float  # seconds since the start of the run
    entity: int
    seq: int
    late: bool
    record: Record


class Faults:
    """Says for each reading of a run what to send, and keeps the answer key of what that was.

    All times are seconds since the start of the run, `duration` is its end. `late_by` and `out_of_order_by` are the
    seconds that such a reading is held back; one that would come after the run's end is sent at once, with no fault.
    What the methods return has to be sent, in that order: it counts as sent.
    """

    def __init__(self, shares: Shares, late_by: float, out_of_order_by: float, duration: float, seed: int = 0) -> None:
        self._shares = shares
        self._hold_back = {"late": late_by, "out_of_order": out_of_order_by}
        self._duration = duration
        self._rng = random.Random(seed)
        self._held: list[Held] = []  # a heap
        self._highest: dict[int, int] = {}  # the highest seq of the valid records sent of each vehicle
        self._lowest: dict[int, int] = {}  # and the lowest, those of earlier runs included
        self._lost: list[tuple[int, int]] = []  # vehicle and seq of malformed readings that are no gap yet
        self._counts = dict.fromkeys(("readings", "late", "out_of_order", "duplicates", "gaps", "cut_short"), 0)
        self._malformed = dict.fromkeys(MALFORMED, 0)

    def go_on(self, last_seq: Mapping[int, int]) -> None:
        """Take into account that the topic has readings of these vehicles already."""
        self._lowest.update(last_seq)

    def send(self, record: Record, now: float) -> list[Record]:
        """What to send in place of a reading taken at `now`: a record, two that are the same, or none yet."""
        key, value = record
        reading = json.loads(value)
        entity, seq = reading["entity"], reading["seq"]
        fault = self._draw()
        if fault == "malformed":
            kind = self._rng.choice(list(MALFORMED))
            self._malformed[kind] += 1
            self._lost.append((entity, seq))
            return [(key, MALFORMED[kind](reading))]
        release = now + self._hold_back.get(fault, 0)
        if now < release <= self._duration:
            heapq.heappush(self._held, Held(release, entity, seq, fault == "late", record))
            return []
        copies = 2 if fault == "duplicate" else 1
        self._counts["readings"] += copies
        self._counts["duplicates"] += copies - 1
        self._has_gone(entity, seq)
        return [record] * copies

    def due(self, now: float) -> list[Record]:
        """The held readings whose time has come, the one that was due first at the front."""
        records = []
        while self._held and self._held[0].release <= now:
            held = heapq.heappop(self._held)
            if held.late:
                self._counts["late"] += 1
            elif held.seq < self._highest.get(held.entity, 0):
                self._counts["out_of_order"] += 1
            records.append(self._release(held))
        return records

    def flush(self) -> list[Record]:
        """All that is still held, because the run was cut short: how late each is to the windows is uncertain."""
        self._counts["cut_short"] += len(self._held)
        records = [self._release(held) for held in sorted(self._held)]
        self._held.clear()
        return records

    def answer_key(self) -> dict[str, Any]:
        """How many records were sent so far, by what a reader of the topic has to make of them.

        `readings` are all valid ones, with the `duplicates` (second copies). `late` were held back for `late_by`;
        `out_of_order` are the others that came after a later reading of their vehicle. `gaps` are the seqs that
        malformed records cost between the lowest and the highest of their vehicle. `cut_short` are those of flush().
        """
        no_gap_yet = [
            (entity, seq)
            for entity, seq in self._lost
            if not self._lowest.get(entity, seq) < seq < self._highest.get(entity, 0)
        ]
        self._counts["gaps"] += len(self._lost) - len(no_gap_yet)
        self._lost = no_gap_yet
        counts = self._counts
        return {
            "readings": counts["readings"],
            "late": counts["late"],
            "out_of_order": counts["out_of_order"],
            "duplicates": counts["duplicates"],
            "malformed": dict(self._malformed),
            "malformed_total": sum(self._malformed.values()),
            "gaps": counts["gaps"],
            "cut_short": counts["cut_short"],
        }

    def _draw(self) -> str:
        """The name of a fault, as in Shares, or "" for none."""
        draw = self._rng.random()
        for fault, share in self._shares._asdict().items():
            if draw < share:
                return fault
            draw -= share
        return ""

    def _release(self, held: Held) -> Record:
        self._counts["readings"] += 1
        self._has_gone(held.entity, held.seq)
        return held.record

    def _has_gone(self, entity: int, seq: int) -> None:
        self._highest[entity] = max(seq, self._highest.get(entity, 0))
        self._lowest[entity] = min(seq, self._lowest.get(entity, seq))
