"""The simulated fleet: its vehicles and their readings, which follow the contract."""

import json
import math
import random
import statistics
from collections.abc import Iterator
from itertools import islice
from typing import Any

from generator.fleet import SENSORS, WHOLE, Fleet, Sensor, Share
from service import contract

TIME = "2026-01-01T00:00:00.000Z"


def readings(fleet: Fleet) -> list[dict[str, Any]]:
    return [json.loads(value) for _, value in fleet.records(TIME)]


def test_one_reading_of_every_vehicle_with_the_fields_of_the_contract() -> None:
    first = readings(Fleet(3))
    assert [reading["entity"] for reading in first] == [1, 2, 3]
    assert [list(reading) for reading in first] == [["time", "entity", *SENSORS, "seq", "vin"]] * 3
    assert {reading["time"] for reading in first} == {TIME}
    assert [key for key, _ in Fleet(3).records(TIME)] == [b"1", b"2", b"3"]


def test_the_sensors_are_the_signals_of_the_schema_and_stay_in_their_ranges() -> None:
    signals = contract.signals(contract.topics()["raw"].schema)
    assert list(SENSORS) == [signal.name for signal in signals], (
        "SENSORS in generator/fleet.py must have the signals of schemas/sensor-data-raw.schema.json, in its order"
    )
    for signal, sensor in zip(signals, SENSORS.values(), strict=True):
        assert signal.low <= sensor.low <= sensor.mean <= sensor.high <= signal.high, signal.name


def values(rng: random.Random) -> Iterator[dict[str, float]]:
    """The values of each sensor, from the formula."""
    value = {name: rng.gauss(sensor.mean, sensor.sd) for name, sensor in SENSORS.items()}
    while True:
        for name, sensor in SENSORS.items():
            noise = sensor.sd * math.sqrt(1 - sensor.correlation**2) * rng.gauss(0, 1)
            value[name] = sensor.mean + sensor.correlation * (value[name] - sensor.mean) + noise
            value[name] = min(max(value[name], sensor.low), sensor.high)
        yield value


def test_a_record_is_the_readings_json_with_two_decimals() -> None:
    fleet = Fleet(3, last_seq={2: 99_999_999}, seed=5)
    expected = {
        vehicle.entity: values(random.Random(f"5/{vehicle.entity}/{vehicle.seq}")) for vehicle in fleet.vehicles
    }
    for _ in range(2000):
        for vehicle, (_, value) in zip(fleet.vehicles, fleet.records(TIME), strict=True):
            sensors = next(expected[vehicle.entity])
            reading = {
                "time": TIME,
                "entity": vehicle.entity,
                **{name: round(number, 2) for name, number in sensors.items()},
                "seq": vehicle.seq,
                "vin": vehicle.vin,
            }
            assert json.loads(value) == reading
            # The bytes are the same, too, but for 20.50, which json writes as 20.5.
            text = json.dumps(
                reading | {name: f"<{number:.2f}>" for name, number in sensors.items()}, separators=(",", ":")
            )
            assert value.decode() == text.replace('"<', "").replace('>"', "")


def test_several_processes_send_the_same_records_as_one() -> None:
    last_seq = {3: 40, 8: 7}
    whole = Fleet(10, last_seq)
    parts = [Fleet(10, last_seq, share=share) for share in WHOLE.parts(3)]
    assert [[vehicle.entity for vehicle in part.vehicles] for part in parts] == [[3, 6, 9], [1, 4, 7, 10], [2, 5, 8]]
    for _ in range(3):
        assert sorted(record for part in parts for record in part.records(TIME)) == sorted(whole.records(TIME))


def test_the_shares_of_generators_in_several_processes_are_all_vehicles_once() -> None:
    shares = [share for number in range(3) for share in Share(number, 3).parts(number + 1)]
    assert sorted(vehicle.entity for share in shares for vehicle in Fleet(50, share=share).vehicles) == [*range(1, 51)]


def test_the_seq_of_each_vehicle_continues_by_one_from_its_last() -> None:
    fleet = Fleet(2, last_seq={2: 40})
    seqs = [(reading["entity"], reading["seq"]) for _ in range(3) for reading in readings(fleet)]
    assert seqs == [(1, 1), (2, 41), (1, 2), (2, 42), (1, 3), (2, 43)]


def test_the_same_seed_gives_the_same_readings_and_another_one_others() -> None:
    one, same, other = (readings(Fleet(5, seed=seed)) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_a_vehicle_keeps_its_vin_and_readings_whatever_the_size_of_the_fleet() -> None:
    small, large = Fleet(3), Fleet(30)
    for _ in range(2):
        assert readings(small) == readings(large)[:3]
    vins = [vehicle.vin for vehicle in large.vehicles]
    assert len(set(vins)) == len(vins)
    assert all(len(vin) == 17 for vin in vins)


def test_readings_have_the_distribution_of_the_original_project() -> None:
    fleet = Fleet(500)
    sample = [reading for _ in range(40) for reading in readings(fleet)]
    for name, mean, sd in (("temp", 20, 1), ("humidity", 35, 5)):
        values = [reading[name] for reading in sample]
        assert abs(statistics.mean(values) - mean) < 0.1 * sd
        assert abs(statistics.stdev(values) / sd - 1) < 0.05


def test_successive_readings_are_correlated() -> None:
    sensor, rng = SENSORS["temp"], random.Random(0)
    values = list(islice(sensor.values_after(sensor.first(rng), rng), 20_000))
    assert abs(statistics.correlation(values[:-1], values[1:]) - sensor.correlation) < 0.01


def test_a_reading_stays_within_its_physical_range() -> None:
    sensor, rng = Sensor(mean=99, sd=50, low=0, high=100), random.Random(0)
    values = [sensor.first(rng) for _ in range(100)] + list(islice(sensor.values_after(99, rng), 1000))
    assert min(values) == 0 and max(values) == 100
