"""Vehicles in traffic: exact values of a seed, and what holds for each vehicle in every second."""

import cmath
from itertools import pairwise
from math import cos, radians

import pytest
from generator.driving import EPOCH, FORMATS, KM_PER_DEGREE, State, Vehicle
from service import contract

START = 1_767_225_600  # 2026-01-01, in seconds since 1970
SECONDS = 600
VEHICLES = range(1, 41)


@pytest.fixture(scope="module")
def courses() -> dict[int, list[State]]:
    """Ten minutes of each vehicle, second by second."""
    vehicles = {entity: Vehicle(entity) for entity in VEHICLES}
    return {entity: [each.at(START + second) for second in range(SECONDS + 1)] for entity, each in vehicles.items()}


def test_the_values_of_a_seed_are_these() -> None:
    found = {(seed, second): Vehicle(1, seed).at(START + second) for seed, second in ((0, 0), (0, 2940), (1, 0))}
    written = {
        where: " ".join(FORMATS[name] % value for name, value in state._asdict().items())
        for where, state in found.items()
    }
    assert written == {
        (0, 0): "0.00 207294.178 52.651658 10.370086 342.64 90.45 249.55 67.81",
        (0, 2940): "81.88 207299.596 52.690316 10.373248 72.64 89.50 248.82 83.39",
        (1, 0): "88.02 159802.757 48.367465 8.781149 313.14 98.07 250.50 87.24",
    }


def test_every_value_is_in_the_range_of_its_signal(courses: dict[int, list[State]]) -> None:
    signals = {signal.name: signal for signal in contract.signals(contract.topics()["raw"].schema)}
    for course in courses.values():
        for name, values in zip(State._fields, zip(*course, strict=True), strict=True):
            assert signals[name].low <= min(values) <= max(values) <= signals[name].high, name


def test_some_vehicles_drive_and_some_stand(courses: dict[int, list[State]]) -> None:
    for moment in zip(*courses.values(), strict=True):
        assert 5 < sum(state.speed > 20 for state in moment) < 35


def test_the_odometer_never_falls_and_its_distance_is_that_of_the_speed(courses: dict[int, list[State]]) -> None:
    for course in courses.values():
        assert all(later.odometer >= before.odometer for before, later in pairwise(course))
        distance = course[-1].odometer - course[0].odometer
        integral = sum((before.speed + later.speed) / 2 / 3600 for before, later in pairwise(course))
        assert integral == pytest.approx(distance, rel=0.01, abs=1e-3)
    assert sum(course[-1].odometer - course[0].odometer > 1 for course in courses.values()) > 15


def test_a_vehicle_speeds_up_and_brakes_as_vehicles_can(courses: dict[int, list[State]]) -> None:
    changes = [later.speed - before.speed for course in courses.values() for before, later in pairwise(course)]
    assert -2 * 3.6 < min(changes) < -3 and 3 < max(changes) < 2 * 3.6  # 2 m/s²


def test_the_position_moves_as_speed_and_heading_say(courses: dict[int, list[State]]) -> None:
    turned = 0
    for course in courses.values():
        distance = error = 0.0
        for before, later in pairwise(course):
            north = (later.latitude - before.latitude) * KM_PER_DEGREE
            east = (later.longitude - before.longitude) * KM_PER_DEGREE * cos(radians(before.latitude))
            speed = (before.speed + later.speed) / 2 / 3600
            headings = [cmath.exp(1j * radians(state.heading)) for state in (before, later)]  # north + east * i
            error += abs(complex(north, east) - speed * sum(headings) / 2)
            distance += speed
            turned += abs(later.heading - before.heading) > 1
        assert error <= 0.01 * distance + 1e-3
    assert turned > 100


def test_the_engine_warms_up_and_burns_fuel_while_it_is_on(courses: dict[int, list[State]]) -> None:
    warm_ups = parked = 0
    for course in courses.values():
        for before, later in pairwise(course):
            assert later.fuel_level < before.fuel_level or before.speed == 0
        if all(later.coolant_temp < before.coolant_temp for before, later in pairwise(course)):
            assert {state.speed for state in course} == {0} and course[-1].fuel_level >= course[0].fuel_level
            parked += 1
        warm_ups += course[-1].coolant_temp > course[0].coolant_temp + 20
    assert parked > 5
    assert warm_ups > 2
    assert {round(max(course[-1].coolant_temp for course in courses.values()), -1)} == {90}


def test_trips_repeat_with_other_speeds_and_the_vehicle_refuels_while_it_stands() -> None:
    vehicle = Vehicle(1)
    course = [vehicle.at(START + 10 * number) for number in range(8640)]  # a day
    refuelled = [before for before, later in pairwise(course) if later.fuel_level > before.fuel_level]
    assert refuelled and all(state.speed == 0 for state in refuelled)
    assert min(state.fuel_level for state in course) > 10 and max(state.fuel_level for state in course) == 100
    stops = sum(before.speed > 0 and later.speed == 0 for before, later in pairwise(course))
    assert stops > 50
    tops = {round(before.speed, 1) for before, later in pairwise(course) if before.speed > 30}
    assert len(tops) > 200
    # It comes home after every trip.
    home = {(round(state.latitude, 4), round(state.longitude, 4)) for state in refuelled}
    assert len(home) == 1


def test_before_the_epoch_a_vehicle_does_not_move() -> None:
    for entity in VEHICLES:
        before, start = (Vehicle(entity).at(moment) for moment in (EPOCH - 10**8, EPOCH))
        assert before == start and start.speed == 0
