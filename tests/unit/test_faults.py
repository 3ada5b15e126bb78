"""The faults in what the fleet sends: what comes, when, and that the answer key says so exactly."""

import json
import math
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from faults import MALFORMED, Faults, Shares
from fleet import Fleet, Record

START = datetime(2026, 1, 1, tzinfo=UTC)
LATE_BY, OUT_OF_ORDER_BY = 30, 2
SOME_OF_EACH = Shares(late=0.05, out_of_order=0.1, duplicate=0.02, malformed=0.03)
SEED = 0

Sent = list[tuple[float, bytes, bytes]]  # elapsed seconds, key, value


def reading(seq: int, entity: int = 1) -> dict[str, str | int | float]:
    time = "2026-01-01T00:00:00.000Z"
    return {"time": time, "entity": entity, "temp": 20.5, "humidity": 35.0, "seq": seq, "vin": "V"}


def record(seq: int, entity: int = 1) -> Record:
    return b"%d" % entity, json.dumps(reading(seq, entity), separators=(",", ":")).encode()


def faults(shares: Shares, duration: float = math.inf, seed: int = SEED) -> Faults:
    return Faults(shares, LATE_BY, OUT_OF_ORDER_BY, duration, seed)


class Scripted(Faults):
    """Draws these faults, one a reading; "" is none."""

    def __init__(self, *plan: str) -> None:
        super().__init__(Shares(), LATE_BY, OUT_OF_ORDER_BY, duration=math.inf)
        self.plan = list(plan)

    def _draw(self) -> str:
        return self.plan.pop(0)


def seqs(records: list[tuple[bytes, bytes]]) -> list[int]:
    return [json.loads(value)["seq"] for _, value in records]


def key(**counts: Any) -> dict[str, Any]:
    """An answer key with these counts, by kind where it is of malformed records, and 0 everywhere else."""
    malformed = {kind: counts.pop(kind, 0) for kind in MALFORMED}
    zeros = dict(readings=0, late=0, out_of_order=0, duplicates=0, gaps=0, cut_short=0)
    return {**zeros, **counts, "malformed": malformed, "malformed_total": sum(malformed.values())}


def sending(faults: Faults, vehicles: int, iterations: int) -> Sent:
    """What a fleet with these faults sends, an iteration a second, up to the run's end, in order."""
    fleet, sent = Fleet(vehicles), []
    for now in range(iterations):
        time = (START + timedelta(seconds=now)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for each in fleet.records(time):
            sent += [(now, *record) for record in faults.send(each, now)]
        sent += [(now, *record) for record in faults.due(now)]
    sent += [(iterations, *record) for record in faults.due(iterations)]
    return sent


# What is wrong with a JSON record of each kind, as a reader would ask; the first that holds is its kind.
WRONG: dict[str, Callable[[dict[str, Any]], bool]] = {
    "no_time": lambda record: "time" not in record,
    "no_entity": lambda record: "entity" not in record,
    "old_time": lambda record: record["time"] < "2026",
    "future_time": lambda record: record["time"] > "2027",
    "text_temp": lambda record: isinstance(record["temp"], str),
    "nan_temp": lambda record: math.isnan(record["temp"]),
    "temp_out_of_range": lambda record: not -50 <= record["temp"] <= 60,
    "humidity_out_of_range": lambda record: not 0 <= record["humidity"] <= 100,
}


def malformed_kind(value: bytes) -> str | None:
    """Which kind of broken record this is, None for a valid one."""
    try:
        record = json.loads(value)
    except ValueError:
        return "truncated" if value.startswith(b"{") else "not_json"
    return next((kind for kind, is_wrong in WRONG.items() if is_wrong(record)), None)


def counted(sent: Sent) -> dict[str, Any]:
    """The answer key, from nothing but what came, in order."""
    counts: Counter[str] = Counter()
    seen: dict[int, set[int]] = {}
    for elapsed, _, value in sent:
        if kind := malformed_kind(value):
            counts[kind] += 1
            continue
        record = json.loads(value)
        counts["readings"] += 1
        before = seen.setdefault(record["entity"], set())
        if record["seq"] in before:
            counts["duplicates"] += 1
        elif elapsed - (datetime.fromisoformat(record["time"]) - START).total_seconds() >= LATE_BY:
            counts["late"] += 1
        elif before and record["seq"] < max(before):
            counts["out_of_order"] += 1
        before.add(record["seq"])
    return key(**counts, gaps=sum(max(each) - min(each) + 1 - len(each) for each in seen.values()))


@pytest.mark.parametrize("seed", range(5))
def test_the_answer_key_is_what_a_reader_of_the_records_counts(seed: int) -> None:
    faulty = faults(SOME_OF_EACH, duration=100, seed=seed)
    sent = sending(faulty, vehicles=40, iterations=100)
    assert faulty.answer_key() == counted(sent)
    assert min(value for value in counted(sent).values() if isinstance(value, int) and value) > 50


def test_the_answer_key_is_right_at_any_time() -> None:
    faulty, sent, fleet = faults(SOME_OF_EACH, duration=100), [], Fleet(10)
    for now in range(100):
        for each in fleet.records((START + timedelta(seconds=now)).isoformat()):
            sent += [(float(now), *record) for record in faulty.send(each, now)]
        sent += [(float(now), *record) for record in faulty.due(now)]
        # A seq that is missing because its reading is still held is no gap.
        assert {**faulty.answer_key(), "gaps": 0} == {**counted(sent), "gaps": 0}


def test_nothing_is_lost_and_what_is_held_comes_unchanged() -> None:
    fleet = Fleet(40)
    faulty = faults(SOME_OF_EACH, duration=100)
    valid = {value for _, _, value in sending(faulty, 40, 100) if not malformed_kind(value)}
    without = {value for _, _, value in sending(faults(Shares()), len(fleet.vehicles), 100)}
    assert valid < without
    assert len(without) - len(valid) == faulty.answer_key()["malformed_total"]
    assert faulty.flush() == []


def test_the_shares_are_met() -> None:
    vehicles, iterations = 20, 1000
    faulty = faults(SOME_OF_EACH)  # without an end
    sending(faulty, vehicles, iterations)
    faulty.due(math.inf)
    answers, n = faulty.answer_key(), vehicles * iterations
    # One held for 2 s is overtaken unless its vehicle's readings of the next two iterations are held or malformed too.
    for count, share in (
        (answers["late"], 0.05),
        (answers["out_of_order"], 0.1 * (1 - (0.05 + 0.1 + 0.03) ** 2)),
        (answers["duplicates"], 0.02),
        (answers["malformed_total"], 0.03),
        *((answers["malformed"][kind], 0.03 / len(MALFORMED)) for kind in MALFORMED),
    ):
        assert abs(count - n * share) < 4 * math.sqrt(n * share * (1 - share))  # 4 standard deviations


def test_the_same_seed_gives_the_same_faults_and_another_one_others() -> None:
    one, same, other = (sending(faults(SOME_OF_EACH, 100, seed), 10, 100) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_no_share_no_fault() -> None:
    faulty = faults(Shares(), duration=100)
    assert [seqs(faulty.send(record(seq), now=seq)) for seq in (1, 2, 3)] == [[1], [2], [3]]
    assert faulty.due(100) == faulty.flush() == []
    assert faulty.answer_key() == key(readings=3)


def test_a_duplicate_is_the_same_bytes_twice_in_a_row() -> None:
    faulty = faults(Shares(duplicate=1))
    first, second = faulty.send(record(7, entity=12), now=0)
    assert first == second == record(7, entity=12)
    assert faulty.answer_key() == key(readings=2, duplicates=1)


def test_a_late_reading_comes_once_its_time_is_over_and_is_late_although_nothing_overtook_it() -> None:
    faulty = faults(Shares(late=1))
    assert faulty.send(record(1), now=0.5) == []
    assert faulty.due(30.4) == []
    assert faulty.answer_key() == key()
    assert faulty.due(30.5) == [record(1)]
    assert faulty.due(31) == []
    assert faulty.answer_key() == key(readings=1, late=1)


def test_what_is_held_comes_in_the_order_of_its_time() -> None:
    faulty = Scripted("late", "out_of_order", "late", "out_of_order", "")
    for seq, now in ((1, 0), (2, 29), (3, 0.5), (4, 28)):
        assert faulty.send(record(seq), now) == []
    assert seqs(faulty.due(31)) == [1, 4, 3, 2]
    # 4 came after 1 only, and 3 is late: 2 alone is out of order.
    assert faulty.answer_key() == key(readings=4, late=2, out_of_order=1)
    assert seqs(faulty.send(record(5), now=32)) == [5]


def test_a_held_reading_is_out_of_order_only_behind_a_later_one_of_its_own_vehicle() -> None:
    faulty = Scripted("out_of_order", "out_of_order", "", "")
    for entity, seq in ((1, 1), (2, 1), (2, 2), (3, 9)):
        faulty.send(record(seq, entity), now=0)
    assert [held for held, _ in faulty.due(2)] == [b"1", b"2"]
    assert faulty.answer_key() == key(readings=4, out_of_order=1)


@pytest.mark.parametrize("shares", [Shares(late=1), Shares(out_of_order=1)])
def test_a_reading_is_not_held_beyond_the_end_of_the_run(shares: Shares) -> None:
    wait = LATE_BY if shares.late else OUT_OF_ORDER_BY
    faulty = faults(shares, duration=100)
    assert seqs(faulty.send(record(1), now=100 - wait + 0.1)) == [1]
    assert seqs(faulty.send(record(2), now=100 - wait)) == []
    assert seqs(faulty.due(100)) == [2]


def test_what_is_held_at_a_stop_is_sent_at_once_and_counted_as_cut_short() -> None:
    faulty = faults(Shares(late=0.5, out_of_order=0.5))
    for seq in range(1, 101):
        assert faulty.send(record(seq), now=0) == []
    assert sorted(seqs(faulty.flush())) == list(range(1, 101))
    assert faulty.flush() == faulty.due(1000) == []
    assert faulty.answer_key() == key(readings=100, cut_short=100)


def test_a_malformed_reading_is_a_gap_once_a_later_one_of_its_vehicle_came() -> None:
    faulty = Scripted("", "malformed", "malformed", "", "malformed", "malformed")
    gaps = []
    for entity, seq in ((1, 40), (1, 41), (1, 42), (1, 43), (1, 44), (2, 42)):
        assert [name for name, _ in faulty.send(record(seq, entity), now=0)] == [str(entity).encode()]
        gaps.append(faulty.answer_key()["gaps"])
    assert gaps == [0, 0, 0, 2, 2, 2]
    assert (faulty.answer_key()["readings"], faulty.answer_key()["malformed_total"]) == (2, 4)


def test_the_first_reading_of_a_vehicle_is_a_gap_where_the_topic_has_earlier_ones() -> None:
    for last_seq, gaps in (({}, 0), ({1: 40}, 1)):
        faulty = Scripted("malformed", "")
        faulty.go_on(last_seq)
        for seq in (41, 42):
            faulty.send(record(seq, 1), now=0)
        assert faulty.answer_key()["gaps"] == gaps


@pytest.mark.parametrize(
    ("kind", "value"),
    {
        "truncated": b'{"time":"2026-01-01T00:00:00.000Z","entity":1,',
        "not_json": b"not a reading",
        "no_time": b'{"entity":1,"temp":20.5,"humidity":35.0,"seq":7,"vin":"V"}',
        "old_time": b'{"time":"1970-01-01T00:00:00.000Z","entity":1,"temp":20.5,"humidity":35.0,"seq":7,"vin":"V"}',
        "future_time": b'{"time":"2099-01-01T00:00:00.000Z","entity":1,"temp":20.5,"humidity":35.0,"seq":7,"vin":"V"}',
        "no_entity": b'{"time":"2026-01-01T00:00:00.000Z","temp":20.5,"humidity":35.0,"seq":7,"vin":"V"}',
        "text_temp": b'{"time":"2026-01-01T00:00:00.000Z","entity":1,"temp":"warm","humidity":35.0,"seq":7,"vin":"V"}',
        "temp_out_of_range": (
            b'{"time":"2026-01-01T00:00:00.000Z","entity":1,"temp":999.9,"humidity":35.0,"seq":7,"vin":"V"}'
        ),
        "nan_temp": b'{"time":"2026-01-01T00:00:00.000Z","entity":1,"temp":NaN,"humidity":35.0,"seq":7,"vin":"V"}',
        "humidity_out_of_range": (
            b'{"time":"2026-01-01T00:00:00.000Z","entity":1,"temp":20.5,"humidity":250.0,"seq":7,"vin":"V"}'
        ),
    }.items(),
)
def test_a_malformed_record_is_of_its_kind(kind: str, value: bytes) -> None:
    assert MALFORMED[kind](reading(7)) == value
    assert malformed_kind(value) == kind


# Through the producer, on a clock that only waiting moves.
