"""The simulated fleet: its vehicles and their readings, which follow the contract."""

import hashlib
import json
import math
import random
import statistics
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import jsonschema
import producer
import pytest
from generator.fleet import DEFAULT, SENSORS, SIGNALS, WHOLE, Fleet, Sensor, Share, UnknownSignal, chosen
from service import contract

TIME = "2026-01-01T00:00:00.000Z"


def readings(fleet: Fleet) -> list[dict[str, Any]]:
    return [json.loads(value) for _, value in fleet.records(TIME)]


def test_one_reading_of_every_vehicle_with_the_fields_of_the_contract() -> None:
    first = readings(Fleet(3))
    assert [reading["entity"] for reading in first] == [1, 2, 3]
    assert [list(reading) for reading in first] == [["time", "entity", *DEFAULT, "seq", "vin"]] * 3
    assert {reading["time"] for reading in first} == {TIME}
    assert [key for key, _ in Fleet(3).records(TIME)] == [b"1", b"2", b"3"]


RAW_SCHEMA = contract.topics()["raw"].schema


def test_the_signals_of_the_fleet_are_those_of_the_schema() -> None:
    signals = {signal.name: signal for signal in contract.signals(RAW_SCHEMA)}
    assert list(SIGNALS) == list(signals), (
        "SENSORS in generator/fleet.py and State in generator/driving.py must have the signals of"
        " schemas/sensor-data-raw.schema.json, in its order"
    )
    for name, sensor in SENSORS.items():
        assert signals[name].low <= sensor.low <= sensor.mean <= sensor.high <= signals[name].high, name


def test_the_default_signals_are_those_of_the_schema_and_the_script_names_all() -> None:
    assert DEFAULT == chosen(producer.signals) == tuple(contract.default_signals(RAW_SCHEMA)), (
        "the windows job reads the signals of x-default-signals fastest, and the generator must send these by default"
    )
    script = Path(producer.__file__).read_text().replace("\n# ", " ")
    assert f"of: {', '.join(SIGNALS)}\n" in script


def test_a_record_with_the_default_signals_is_what_it_was_before_there_were_others() -> None:
    digest = hashlib.sha256()
    fleet = Fleet(200, {7: 99}, seed=3)
    for _ in range(50):
        for key, value in fleet.records(TIME):
            digest.update(key + value)
    assert digest.hexdigest() == "5eb7c7840e1da3576ab103e175a85163b6925485ff28ed861b67d27e9bb8dd73"


def test_a_record_has_the_chosen_signals_in_the_order_of_the_contract() -> None:
    fleet = Fleet(3, signals=chosen("speed,temp , latitude"))
    first, second = next(fleet.records(TIME))[1], next(fleet.records("2026-01-01T00:49:00.000Z"))[1]
    assert first == (
        b'{"time":"2026-01-01T00:00:00.000Z","entity":1,"temp":20.04,"speed":0.00,"latitude":52.651658,"seq":1,'
        b'"vin":"RT3GZYSK4Z9J97593"}'
    )
    assert json.loads(second)["speed"] > 80
    fleet = Fleet(1, signals=chosen("odometer"))
    for seq in (1, 2):
        assert list(readings(fleet)[0]) == ["time", "entity", "odometer", "seq", "vin"]
        assert fleet.vehicles[0].seq == seq


def test_readings_with_all_signals_are_as_the_contract_says() -> None:
    valid = jsonschema.Draft202012Validator(RAW_SCHEMA)
    fleet = Fleet(20, signals=SIGNALS)
    for minute in range(10):
        for _, value in fleet.records(f"2026-01-01T00:{minute:02}:00.000Z"):
            valid.validate(json.loads(value))
            assert list(json.loads(value)) == ["time", "entity", *SIGNALS, "seq", "vin"]


def test_the_vehicles_go_on_where_they_are_after_a_restart_and_in_another_share() -> None:
    names, later = chosen("odometer, latitude, fuel_level"), "2026-01-01T01:00:00.000Z"
    fleet = Fleet(10, signals=names)
    list(fleet.records(TIME))
    expected = {value["entity"]: value for value in (json.loads(value) for _, value in fleet.records(later))}
    for share in WHOLE.parts(2):
        for _, value in Fleet(10, dict.fromkeys(range(11), 1), share=share, signals=names).records(later):
            assert json.loads(value) == expected[json.loads(value)["entity"]]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("temp, sped", "'sped' is no signal, the nearest is 'speed'"),
        ("Temp", "'Temp' is no signal, the nearest is 'temp'"),
        ("temp,", "'' is no signal, the nearest is "),
        ("temp; speed", "'temp; speed' is no signal, the nearest is "),
    ],
)
def test_an_unknown_signal_is_named_with_the_nearest(names: str, said: str) -> None:
    with pytest.raises(UnknownSignal) as error:
        chosen(names)
    assert str(error.value).startswith(said)


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
