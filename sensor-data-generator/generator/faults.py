"""Faults injected into the readings, and how many of each. Seeded; knows neither clock nor Kafka."""

import heapq
import json
import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from generator.fleet import Record

Reading = Mapping[str, str | int | float]


def _json(reading: Reading) -> bytes:
    return json.dumps(reading, separators=(",", ":")).encode()


# The kinds of malformed records: each name with the function that makes the record from the reading it replaces.
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
    """The share of readings, 0 to 1, that gets each fault. A reading gets one at most: the sum is 1 or less."""

    late: float = 0
    out_of_order: float = 0
    duplicate: float = 0
    malformed: float = 0


class Held(NamedTuple):
    """A reading held back. The first three fields, together unique, put the readings in the order of their release."""

    release: float  # seconds since the start of the run
    entity: int
    seq: int
    late: bool
    record: Record


class Faults:
    """Decides what to send for each reading of a run, and counts the faults.

    All times are seconds since the start of the run, which ends at `duration`. A late or out-of-order reading is held
    back for `late_by` or `out_of_order_by` seconds; if that is beyond the end of the run, it is sent at once, without a
    fault. The records that the methods return count as sent: the caller must send them, in that order.
    """

    def __init__(self, shares: Shares, late_by: float, out_of_order_by: float, duration: float, seed: int = 0) -> None:
        self._shares = shares
        self._hold_back = {"late": late_by, "out_of_order": out_of_order_by}
        self._duration = duration
        self._rng = random.Random(seed)
        self._held: list[Held] = []  # a heap
        self._highest: dict[int, int] = {}  # by vehicle: the highest seq of the valid records sent
        self._lowest: dict[int, int] = {}  # and the lowest, including earlier runs
        self._malformed_seqs: list[tuple[int, int]] = []  # (vehicle, seq) of malformed readings that are not a gap yet
        self._counts = dict.fromkeys(("readings", "late", "out_of_order", "duplicates", "gaps", "cut_short"), 0)
        self._malformed = dict.fromkeys(MALFORMED, 0)

    def resume_from(self, last_seq: Mapping[int, int]) -> None:
        """Take into account that the topic already has readings of these vehicles."""
        self._lowest.update(last_seq)

    def send(self, record: Record, now: float) -> list[Record]:
        """The records to send for a reading taken at `now`: one, the same one twice, or none yet."""
        key, value = record
        reading = json.loads(value)
        entity, seq = reading["entity"], reading["seq"]
        fault = self._draw()
        if fault == "malformed":
            kind = self._rng.choice(list(MALFORMED))
            self._malformed[kind] += 1
            self._malformed_seqs.append((entity, seq))
            return [(key, MALFORMED[kind](reading))]
        release = now + self._hold_back.get(fault, 0)
        if now < release <= self._duration:
            heapq.heappush(self._held, Held(release, entity, seq, fault == "late", record))
            return []
        copies = 2 if fault == "duplicate" else 1
        self._counts["readings"] += copies
        self._counts["duplicates"] += copies - 1
        self._mark_sent(entity, seq)
        return [record] * copies

    def due(self, now: float) -> list[Record]:
        """The readings held back that are due by `now`, in the order in which they are due."""
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
        """All readings still held back when a run is stopped. Each may be late for its window, or not."""
        self._counts["cut_short"] += len(self._held)
        records = [self._release(held) for held in sorted(self._held)]
        self._held.clear()
        return records

    def injected(self) -> dict[str, Any]:
        """The number of records sent so far, by what a reader of the topic finds.

        `readings` counts all valid records, including `duplicates` (second copies). `late` readings were held back for
        `late_by`; `out_of_order` counts the others that were sent after a later reading of their vehicle. `gaps` counts
        the seqs that are missing because of malformed records, between the lowest and the highest of their vehicle.
        `cut_short` counts the readings from flush().
        """
        not_yet = [
            (entity, seq)
            for entity, seq in self._malformed_seqs
            if not self._lowest.get(entity, seq) < seq < self._highest.get(entity, 0)
        ]
        self._counts["gaps"] += len(self._malformed_seqs) - len(not_yet)
        self._malformed_seqs = not_yet
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
        """A fault, as named in Shares, or "" for none."""
        draw = self._rng.random()
        for fault, share in self._shares._asdict().items():
            if draw < share:
                return fault
            draw -= share
        return ""

    def _release(self, held: Held) -> Record:
        self._counts["readings"] += 1
        self._mark_sent(held.entity, held.seq)
        return held.record

    def _mark_sent(self, entity: int, seq: int) -> None:
        self._highest[entity] = max(seq, self._highest.get(entity, 0))
        self._lowest[entity] = min(seq, self._lowest.get(entity, seq))
