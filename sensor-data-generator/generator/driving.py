"""How a vehicle drives: on its round trip, again and again. Pure and seeded; knows neither clock nor Kafka.

Everything is a function of the vehicle and the time, so it depends on no reading before. A generator that starts again,
or takes over a vehicle, goes on where the vehicle is.
"""

import cmath
import random
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from math import cos, exp, pi, radians, sin
from typing import NamedTuple
from zlib import crc32

EPOCH = 1_735_689_600  # 2025-01-01, in seconds since 1970: the fleet begins; before that its vehicles are parked
KM_PER_DEGREE = 111.195  # of a great circle of the earth, whose mean radius is 6371 km (IUGG)
ACCELERATION = 1.1 * 3.6  # km/h per second, the mean of speeding up and of braking
CORNER = 0.25  # km, the radius of a bend
ROADS = (50, 50, 50, 80, 100)  # km/h, the limits of the roads; a driver drives at 80 to 100 % of them
SLOWEST = 0.8
AIR, WARM, SWING = 15.0, 90.0, 1.5  # °C: of the air, of the warm coolant, and how far the thermostat lets that swing
SWING_TIME = 97  # seconds, about
WARMING, COOLING = 240, 3000  # seconds in which 63 % of a difference in temperature is gone, with the engine on and off
TIRE_WARMING = 900  # seconds, likewise
TIRE_RISE = 0.08  # of the pressure, from cold to warm
TANK = 60.0  # liters
PER_KM, PER_SECOND = 0.08, 0.9 / 3600  # liters that the engine burns while it drives, and as long as it is on
TRIPS_PER_TANK = 7
REFUELLING = 180  # seconds


class State(NamedTuple):
    """The signals of a vehicle at one time, by their names and in the order of the contract, which has their units."""

    speed: float
    odometer: float
    latitude: float
    longitude: float
    heading: float
    fuel_level: float
    tire_pressure: float
    coolant_temp: float


# How each is written: a position to a decimeter, a distance to a meter
FORMATS = dict.fromkeys(State._fields, "%.2f") | {"odometer": "%.3f", "latitude": "%.6f", "longitude": "%.6f"}


class Leg(NamedTuple):
    """A part of a trip, from one stop to the next: `length` km within `duration` seconds, with the stop at its end."""

    length: float
    limit: float  # km/h
    duration: float


class Piece(NamedTuple):
    """A straight or a bend of a road. A place is a complex number, in km to the east + km to the north * i."""

    start: float  # km from the begin of the road
    place: complex  # at the start
    direction: complex  # at the start, of length 1
    is_bend: bool


class Vehicle:
    """A vehicle in traffic: its trip, which it repeats, with other speeds each time."""

    def __init__(self, entity: int, seed: int = 0) -> None:
        self._key = f"{seed}/{entity}/driving"
        rng = random.Random(self._key)
        limits = [rng.choice(ROADS) for _ in range(6)]
        self._legs = [_leg(rng, limit) for limit in limits]
        self._leg_times = [0.0, *accumulate(leg.duration for leg in self._legs)]
        self._leg_starts = [0.0, *accumulate(leg.length for leg in self._legs)]
        self._on = self._leg_times[-1]  # seconds of a trip with the engine on; then the vehicle is parked
        self._trip = self._on + rng.uniform(1200, 3600)  # seconds from one trip to the next
        self._length = self._leg_starts[-1]
        self._road = list(_road(self._length, rng))
        self._offset = rng.uniform(self._on, self._trip)  # at the epoch, when all vehicles are parked
        self._odometer = rng.uniform(5_000, 50_000)
        self._home = rng.uniform(48, 53), rng.uniform(8, 13)  # latitude and longitude
        self._cold_pressure = rng.uniform(220, 260)
        self._used = self._length * PER_KM + self._on * PER_SECOND  # liters per trip
        self._coolant_at_start = _periodic(WARMING, self._on, COOLING, self._trip - self._on)
        self._tires_at_start = _periodic(TIRE_WARMING, self._on, COOLING, self._trip - self._on)

    def at(self, seconds: float) -> State:
        """The state at a time, in seconds since 1970."""
        trip, time = divmod(max(0.0, seconds - EPOCH) + self._offset, self._trip)
        speed, distance = self._drive(int(trip), time)
        place, direction = self._place(distance)
        latitude, longitude = self._home
        return State(
            speed,
            self._odometer + trip * self._length + distance,
            latitude + place.imag / KM_PER_DEGREE,
            longitude + place.real / (KM_PER_DEGREE * cos(radians(latitude))),
            (90 - cmath.phase(direction) * 180 / pi) % 360,
            self._fuel(int(trip), time, distance),
            self._cold_pressure * (1 + TIRE_RISE * self._warmth(time, TIRE_WARMING, self._tires_at_start)),
            self._coolant(time),
        )

    def _drive(self, trip: int, time: float) -> tuple[float, float]:
        """Speed in km/h and distance in km, `time` seconds after the begin of a trip."""
        if time >= self._on:
            return 0.0, self._length
        number = bisect_right(self._leg_times, time) - 1
        leg = self._legs[number]
        share = crc32(f"{self._key}/{trip}/{number}".encode()) / 2**32  # even, and faster than a random.Random
        top = leg.limit * (SLOWEST + (1 - SLOWEST) * share)
        speed, distance = _speed_and_distance(leg.length, top, time - self._leg_times[number])
        return speed, self._leg_starts[number] + distance

    def _place(self, distance: float) -> tuple[complex, complex]:
        """Place and direction of travel after `distance` km of a trip."""
        piece = self._road[bisect_right(self._road, distance, key=lambda piece: piece.start) - 1]
        if not piece.is_bend:
            return piece.place + piece.direction * (distance - piece.start), piece.direction
        turned = cmath.exp(-1j * (distance - piece.start) / CORNER)  # to the right
        to_center = -1j * CORNER * piece.direction
        return piece.place + to_center * (1 - turned), piece.direction * turned

    def _fuel(self, trip: int, time: float, distance: float) -> float:
        """Fuel in percent. Every TRIPS_PER_TANK trips, the tank is filled while the vehicle is parked."""
        trips = trip % TRIPS_PER_TANK
        burnt = trips * self._used + distance * PER_KM + min(time, self._on) * PER_SECOND
        if trips == TRIPS_PER_TANK - 1 and time > self._on:
            burnt *= max(0.0, 1 - (time - self._on) / REFUELLING)
        return 100 * (1 - burnt / TANK)

    def _coolant(self, time: float) -> float:
        warmth = self._warmth(time, WARMING, self._coolant_at_start)
        wave = 2 * pi * round(self._on / SWING_TIME) / self._on  # whole waves: it ends where the engine is turned off
        return AIR + (WARM - AIR) * warmth + SWING * sin(wave * min(time, self._on)) * warmth

    def _warmth(self, time: float, warming: float, at_start: float) -> float:
        """From 0, as cold as the air, to 1, warm."""
        warm = 1 - (1 - at_start) * exp(-min(time, self._on) / warming)
        return warm * exp(-max(0.0, time - self._on) / COOLING)


def _leg(rng: random.Random, limit: float) -> Leg:
    """A leg on a road with a limit, whose length leaves room to reach it. At its slowest, the stop is the shortest."""
    length = limit * rng.uniform(0.02, 0.06) * limit / 50
    return Leg(length, limit, _driving_time(length, limit * SLOWEST) + rng.uniform(10, 90))


def _driving_time(length: float, top: float) -> float:
    """Seconds of a leg of `length` km with a top speed."""
    return length / top * 3600 + top / ACCELERATION


def _speed_and_distance(length: float, top: float, time: float) -> tuple[float, float]:
    """Speed in km/h and distance in km, `time` seconds after the begin of a leg of `length` km with a top speed.

    The speed rises like (1 - cos) / 2, is even apart from a wave of 4 %, and falls as it rose. Then the vehicle stands.
    """
    change = top / ACCELERATION  # seconds to speed up, and to brake
    whole = _driving_time(length, top)
    cruise = whole - 2 * change
    if time >= whole:
        return 0.0, length
    if time < change:
        return _rising(top, change, time)
    if time > whole - change:
        speed, rest = _rising(top, change, whole - time)
        return speed, length - rest
    wave = 2 * pi * max(1, round(cruise / 40)) / cruise  # whole waves, so that they add up to nothing
    since = time - change
    speed = top * (1 - 0.04 * sin(wave * since))
    distance = top / 3600 * (change / 2 + since - 0.04 / wave * (1 - cos(wave * since)))
    return speed, distance


def _rising(top: float, change: float, time: float) -> tuple[float, float]:
    speed = top * (1 - cos(pi * time / change)) / 2
    return speed, top / 3600 * (time - change / pi * sin(pi * time / change)) / 2


def _road(length: float, rng: random.Random) -> Iterator[Piece]:
    """A rectangle with round corners, of `length` km in all, which begins somewhere on its first side."""
    bend = pi / 2 * CORNER
    both = length / 2 - 2 * bend  # width and height, without the corners
    width = both * rng.uniform(0.3, 0.7)
    first = width * rng.random()
    start, place, direction = 0.0, 0j, cmath.exp(1j * rng.uniform(0, 2 * pi))
    for side in (first, both - width, width, both - width, width - first):
        yield Piece(start, place, direction, is_bend=False)
        start, place = start + side, place + side * direction
        if start < length - bend / 2:
            yield Piece(start, place, direction, is_bend=True)
            start, place = start + bend, place + CORNER * direction * (1 - 1j)
            direction *= -1j


def _periodic(warming: float, on: float, cooling: float, off: float) -> float:
    """The warmth at the start of a trip that follows many others: it warms up, cools down and is the same again."""
    cooled = exp(-off / cooling)
    return cooled * (1 - exp(-on / warming)) / (1 - cooled * exp(-on / warming))
