"""The simulated fleet: which vehicles, what they read."""

import random
import statistics

from fleet import SENSORS, Fleet, Sensor

TIME = "2026-01-01T00:00:00.000Z"


def test_one_reading_of_every_vehicle_with_the_fields_of_the_contract() -> None:
    readings = list(Fleet(3).readings(TIME))
    assert [reading["entity"] for reading in readings] == [1, 2, 3]
    assert [list(reading) for reading in readings] == [["time", "entity", "temp", "humidity", "seq", "vin"]] * 3
    assert {reading["time"] for reading in readings} == {TIME}


def test_the_counter_of_each_vehicle_goes_up_by_one_from_where_it_stood() -> None:
    fleet = Fleet(2, last_seq={2: 40})
    seqs = [(reading["entity"], reading["seq"]) for _ in range(3) for reading in fleet.readings(TIME)]
    assert seqs == [(1, 1), (2, 41), (1, 2), (2, 42), (1, 3), (2, 43)]


def test_the_same_seed_gives_the_same_readings_and_another_one_others() -> None:
    one, same, other = (list(Fleet(5, seed=seed).readings(TIME)) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_a_vehicle_keeps_its_vin_and_readings_whatever_the_size_of_the_fleet() -> None:
    small, large = Fleet(3), Fleet(30)
    for _ in range(2):
        assert list(small.readings(TIME)) == list(large.readings(TIME))[:3]
    vins = [vehicle.vin for vehicle in large.vehicles]
    assert len(set(vins)) == len(vins)
    assert all(len(vin) == 17 for vin in vins)


def test_readings_have_the_original_distribution() -> None:
    fleet = Fleet(500)
    readings = [reading for _ in range(40) for reading in fleet.readings(TIME)]
    for name, mean, sd in (("temp", 20, 1), ("humidity", 35, 5)):
        values = [float(reading[name]) for reading in readings]
        assert abs(statistics.mean(values) - mean) < 0.1 * sd
        assert abs(statistics.stdev(values) / sd - 1) < 0.05


def test_successive_readings_are_correlated() -> None:
    sensor, rng = SENSORS["temp"], random.Random(0)
    values = [sensor.first(rng)]
    for _ in range(20_000):
        values.append(sensor.next(values[-1], rng))
    assert abs(statistics.correlation(values[:-1], values[1:]) - sensor.correlation) < 0.01


def test_a_reading_stays_within_its_physical_range() -> None:
    sensor, rng = Sensor(mean=99, sd=50, low=0, high=100), random.Random(0)
    values = [sensor.first(rng) for _ in range(100)] + [sensor.next(99, rng) for _ in range(100)]
    assert min(values) >= 0 and max(values) == 100
