"""The injected faults: what is sent, when, and that injected() counts exactly that."""

import json
import math
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from generator.faults import MALFORMED, Faults, Shares
from generator.fleet import Fleet, Record
from jsonschema import Draft202012Validator
from service import contract

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
    """Draws these faults, one per reading; "" is none."""

    def __init__(self, *plan: str) -> None:
        super().__init__(Shares(), LATE_BY, OUT_OF_ORDER_BY, duration=math.inf)
        self.plan = list(plan)

    def _draw(self) -> str:
        return self.plan.pop(0)


def seqs(records: list[tuple[bytes, bytes]]) -> list[int]:
    return [json.loads(value)["seq"] for _, value in records]


def injected(**counts: Any) -> dict[str, Any]:
    """Faults.injected() with these counts, those of malformed records by kind, and 0 everywhere else."""
    malformed = {kind: counts.pop(kind, 0) for kind in MALFORMED}
    zeros = dict(readings=0, late=0, out_of_order=0, duplicates=0, gaps=0, cut_short=0)
    return {**zeros, **counts, "malformed": malformed, "malformed_total": sum(malformed.values())}


def sending(faults: Faults, vehicles: int, iterations: int) -> Sent:
    """What a fleet with these faults sends up to the end of the run, an iteration per second, in order."""
    fleet, sent = Fleet(vehicles), []
    for now in range(iterations):
        time = (START + timedelta(seconds=now)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for each in fleet.records(time):
            sent += [(now, *record) for record in faults.send(each, now)]
        sent += [(now, *record) for record in faults.due(now)]
    sent += [(iterations, *record) for record in faults.due(iterations)]
    return sent


# How a reader tells the kinds of malformed JSON records apart: the first condition that holds is the kind.
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
    """The kind of a malformed record, None for a valid one."""
    try:
        record = json.loads(value)
    except ValueError:
        return "truncated" if value.startswith(b"{") else "not_json"
    return next((kind for kind, is_wrong in WRONG.items() if is_wrong(record)), None)


def counted(sent: Sent) -> dict[str, Any]:
    """What Faults.injected() must be, from the records alone, in order."""
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
    return injected(**counts, gaps=sum(max(each) - min(each) + 1 - len(each) for each in seen.values()))


@pytest.mark.parametrize("seed", range(5))
def test_injected_is_what_a_reader_of_the_records_counts(seed: int) -> None:
    faulty = faults(SOME_OF_EACH, duration=100, seed=seed)
    sent = sending(faulty, vehicles=40, iterations=100)
    expected = counted(sent)
    assert faulty.injected() == expected
    assert min(value for value in expected.values() if isinstance(value, int) and value) > 50


def test_injected_is_right_at_any_time() -> None:
    faulty, sent, fleet = faults(SOME_OF_EACH, duration=100), [], Fleet(10)
    for now in range(100):
        for each in fleet.records((START + timedelta(seconds=now)).isoformat()):
            sent += [(float(now), *record) for record in faulty.send(each, now)]
        sent += [(float(now), *record) for record in faulty.due(now)]
        # A seq that is missing because its reading is still held back is not a gap.
        assert {**faulty.injected(), "gaps": 0} == {**counted(sent), "gaps": 0}


def test_nothing_is_lost_and_readings_held_back_are_sent_unchanged() -> None:
    fleet = Fleet(40)
    faulty = faults(SOME_OF_EACH, duration=100)
    valid = {value for _, _, value in sending(faulty, 40, 100) if not malformed_kind(value)}
    without = {value for _, _, value in sending(faults(Shares()), len(fleet.vehicles), 100)}
    assert valid < without
    assert len(without) - len(valid) == faulty.injected()["malformed_total"]
    assert faulty.flush() == []


def test_the_shares_are_right() -> None:
    vehicles, iterations = 20, 1000
    faulty = faults(SOME_OF_EACH)  # a run without end
    sending(faulty, vehicles, iterations)
    faulty.due(math.inf)
    answers, n = faulty.injected(), vehicles * iterations
    # Another reading overtakes one held for 2 s, unless those of the next two iterations are held or malformed as well.
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


def test_there_are_no_faults_without_shares() -> None:
    faulty = faults(Shares(), duration=100)
    assert [seqs(faulty.send(record(seq), now=seq)) for seq in (1, 2, 3)] == [[1], [2], [3]]
    assert faulty.due(100) == faulty.flush() == []
    assert faulty.injected() == injected(readings=3)


def test_a_duplicate_is_the_same_bytes_twice_in_a_row() -> None:
    faulty = faults(Shares(duplicate=1))
    first, second = faulty.send(record(7, entity=12), now=0)
    assert first == second == record(7, entity=12)
    assert faulty.injected() == injected(readings=2, duplicates=1)


def test_a_late_reading_is_sent_after_its_delay_and_is_late_although_none_overtook_it() -> None:
    faulty = faults(Shares(late=1))
    assert faulty.send(record(1), now=0.5) == []
    assert faulty.due(30.4) == []
    assert faulty.injected() == injected()
    assert faulty.due(30.5) == [record(1)]
    assert faulty.due(31) == []
    assert faulty.injected() == injected(readings=1, late=1)


def test_readings_held_back_are_sent_in_the_order_in_which_they_are_due() -> None:
    faulty = Scripted("late", "out_of_order", "late", "out_of_order", "")
    for seq, now in ((1, 0), (2, 29), (3, 0.5), (4, 28)):
        assert faulty.send(record(seq), now) == []
    assert seqs(faulty.due(31)) == [1, 4, 3, 2]
    # 4 was sent after 1 only, and 3 is late: only 2 is out of order.
    assert faulty.injected() == injected(readings=4, late=2, out_of_order=1)
    assert seqs(faulty.send(record(5), now=32)) == [5]


def test_a_reading_held_back_is_out_of_order_only_after_a_later_one_of_its_own_vehicle() -> None:
    faulty = Scripted("out_of_order", "out_of_order", "", "")
    for entity, seq in ((1, 1), (2, 1), (2, 2), (3, 9)):
        faulty.send(record(seq, entity), now=0)
    assert [held for held, _ in faulty.due(2)] == [b"1", b"2"]
    assert faulty.injected() == injected(readings=4, out_of_order=1)


@pytest.mark.parametrize("shares", [Shares(late=1), Shares(out_of_order=1)])
def test_no_reading_is_held_back_beyond_the_end_of_the_run(shares: Shares) -> None:
    wait = LATE_BY if shares.late else OUT_OF_ORDER_BY
    faulty = faults(shares, duration=100)
    assert seqs(faulty.send(record(1), now=100 - wait + 0.1)) == [1]
    assert seqs(faulty.send(record(2), now=100 - wait)) == []
    assert seqs(faulty.due(100)) == [2]


def test_readings_held_back_at_a_stop_are_sent_at_once_and_counted_as_cut_short() -> None:
    faulty = faults(Shares(late=0.5, out_of_order=0.5))
    for seq in range(1, 101):
        assert faulty.send(record(seq), now=0) == []
    assert sorted(seqs(faulty.flush())) == list(range(1, 101))
    assert faulty.flush() == faulty.due(1000) == []
    assert faulty.injected() == injected(readings=100, cut_short=100)


def test_a_malformed_reading_is_a_gap_once_a_later_one_of_its_vehicle_is_sent() -> None:
    faulty = Scripted("", "malformed", "malformed", "", "malformed", "malformed")
    gaps = []
    for entity, seq in ((1, 40), (1, 41), (1, 42), (1, 43), (1, 44), (2, 42)):
        assert [name for name, _ in faulty.send(record(seq, entity), now=0)] == [str(entity).encode()]
        gaps.append(faulty.injected()["gaps"])
    assert gaps == [0, 0, 0, 2, 2, 2]
    assert (faulty.injected()["readings"], faulty.injected()["malformed_total"]) == (2, 4)


def test_the_first_reading_of_a_vehicle_is_a_gap_where_the_topic_has_earlier_ones() -> None:
    for last_seq, gaps in (({}, 0), ({1: 40}, 1)):
        faulty = Scripted("malformed", "")
        faulty.resume_from(last_seq)
        for seq in (41, 42):
            faulty.send(record(seq, 1), now=0)
        assert faulty.injected()["gaps"] == gaps


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


def strict(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def is_valid(value: bytes, validator: Draft202012Validator) -> bool:
    try:
        return bool(validator.is_valid(json.loads(value, parse_constant=strict)))
    except ValueError:
        return False


def test_the_schema_accepts_readings_and_malformed_records_only_where_the_clock_decides() -> None:
    schema = contract.topics()["raw"].schema
    validator = Draft202012Validator(schema)
    valid = [value for _ in range(20) for _, value in Fleet(10).records("2026-01-01T00:00:00.000Z")]
    assert all(is_valid(value, validator) for value in valid)
    for value in valid:
        records = {kind: malform(json.loads(value)) for kind, malform in MALFORMED.items()}
        accepted = {kind for kind, record in records.items() if is_valid(record, validator)}
        assert accepted == {"old_time", "future_time"}
        assert json.loads(records["old_time"])["time"] < schema["properties"]["time"]["x-earliest"]
