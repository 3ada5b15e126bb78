"""The simulated fleet: which vehicles, what they read."""

import json
import math
import random
import statistics
from collections.abc import Iterator
from itertools import islice
from typing import Any

from fleet import SENSORS, Fleet, Sensor

TIME = "2026-01-01T00:00:00.000Z"


def readings(fleet: Fleet) -> list[dict[str, Any]]:
    return [json.loads(value) for _, value in fleet.records(TIME)]


def test_one_reading_of_every_vehicle_with_the_fields_of_the_contract() -> None:
    first = readings(Fleet(3))
    assert [reading["entity"] for reading in first] == [1, 2, 3]
    assert [list(reading) for reading in first] == [["time", "entity", "temp", "humidity", "seq", "vin"]] * 3
    assert {reading["time"] for reading in first} == {TIME}
    assert [key for key, _ in Fleet(3).records(TIME)] == [b"1", b"2", b"3"]


def values(rng: random.Random) -> Iterator[tuple[float, float]]:
    """Temperature and humidity, written out anew from the formula."""
    temp, humidity = rng.gauss(20, 1), rng.gauss(35, 5)
    while True:
        temp = 20 + 0.95 * (temp - 20) + math.sqrt(1 - 0.95**2) * rng.gauss(0, 1)
        humidity = 35 + 0.95 * (humidity - 35) + 5 * math.sqrt(1 - 0.95**2) * rng.gauss(0, 1)
        yield temp, humidity


def test_a_record_is_what_json_makes_of_the_reading_with_two_digits() -> None:
    fleet = Fleet(3, last_seq={2: 99_999_999}, seed=5)
    expected = {
        vehicle.entity: values(random.Random(f"5/{vehicle.entity}/{vehicle.seq}")) for vehicle in fleet.vehicles
    }
    for _ in range(2000):
        for vehicle, (_, value) in zip(fleet.vehicles, fleet.records(TIME), strict=True):
            temp, humidity = next(expected[vehicle.entity])
            reading = {
                "time": TIME,
                "entity": vehicle.entity,
                "temp": round(temp, 2),
                "humidity": round(humidity, 2),
                "seq": vehicle.seq,
                "vin": vehicle.vin,
            }
            assert json.loads(value) == reading
            # Only that 20.5 is written 20.50.
            text = json.dumps(reading | {"temp": "T", "humidity": "H"}, separators=(",", ":"))
            assert value.decode() == text.replace('"T"', f"{temp:.2f}").replace('"H"', f"{humidity:.2f}")


def test_the_shards_of_a_fleet_send_the_same_records_as_the_whole() -> None:
    last_seq = {3: 40, 8: 7}
    whole = Fleet(10, last_seq)
    shards = [Fleet(10, last_seq, shard=shard, shards=3) for shard in range(3)]
    assert [[vehicle.entity for vehicle in shard.vehicles] for shard in shards] == [[3, 6, 9], [1, 4, 7, 10], [2, 5, 8]]
    for _ in range(3):
        assert sorted(record for shard in shards for record in shard.records(TIME)) == sorted(whole.records(TIME))


def test_the_counter_of_each_vehicle_goes_up_by_one_from_where_it_stood() -> None:
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


def test_readings_have_the_original_distribution() -> None:
    fleet = Fleet(500)
    sample = [reading for _ in range(40) for reading in readings(fleet)]
    for name, mean, sd in (("temp", 20, 1), ("humidity", 35, 5)):
        values = [reading[name] for reading in sample]
        assert abs(statistics.mean(values) - mean) < 0.1 * sd
        assert abs(statistics.stdev(values) / sd - 1) < 0.05


def test_successive_readings_are_correlated() -> None:
    sensor, rng = SENSORS["temp"], random.Random(0)
    values = list(islice(sensor.readings_after(sensor.first(rng), rng), 20_000))
    assert abs(statistics.correlation(values[:-1], values[1:]) - sensor.correlation) < 0.01


def test_a_reading_stays_within_its_physical_range() -> None:
    sensor, rng = Sensor(mean=99, sd=50, low=0, high=100), random.Random(0)
    values = [sensor.first(rng) for _ in range(100)] + list(islice(sensor.readings_after(99, rng), 1000))
    assert min(values) == 0 and max(values) == 100
