"""The simulated fleet: its vehicles and the readings of their sensors. Seeded; knows neither clock nor Kafka."""

import difflib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import repeat
from math import sqrt
from typing import NamedTuple

from faker import Faker

from generator import driving

Record = tuple[bytes, bytes]  # key and value, as sent to Kafka


@dataclass(frozen=True)
class Sensor:
    """A signal that wanders around `mean`: normally distributed in the long run, each value close to the one before.

    A first-order autoregressive process, x' = mean + r (x - mean) + sd sqrt(1 - r^2) e with e ~ N(0, 1),
    whose stationary distribution is N(mean, sd^2) for every correlation 0 <= r < 1
    (Box, Jenkins, Reinsel, Ljung: Time Series Analysis, section 3.2.3).
    """

    mean: float
    sd: float
    low: float
    high: float
    correlation: float = 0.95  # of a value with the one before

    def first(self, rng: random.Random) -> float:
        """A value to begin with."""
        return self._within(rng.gauss(self.mean, self.sd))

    def values_after(self, last: float, rng: random.Random) -> Iterator[float]:
        """The values that follow `last`, without end."""
        # Local variables: this runs for every number of every record.
        mean, low, high, correlation, gauss = self.mean, self.low, self.high, self.correlation, rng.gauss
        noise_sd = self.sd * sqrt(1 - correlation**2)
        while True:
            last = mean + correlation * (last - mean) + noise_sd * gauss()
            if not low <= last <= high:
                last = self._within(last)
            yield last

    def _within(self, value: float) -> float:
        return min(max(value, self.low), self.high)


# The sensors whose signals don't depend on traffic, by the names of the signals.
SENSORS = {
    "temp": Sensor(mean=20, sd=1, low=-50, high=60),  # degrees Celsius
    "humidity": Sensor(mean=35, sd=5, low=0, high=100),  # percent, relative
}
# All signals that a vehicle can send, in the order of schemas/sensor-data-raw.schema.json.
SIGNALS = (*SENSORS, *driving.State._fields)
DEFAULT = "temp", "humidity"


class UnknownSignal(ValueError):
    """No vehicle can send a signal; the text names it and the nearest one."""


def chosen(names: str) -> tuple[str, ...]:
    """The signals in a text such as "temp, speed", in the order of SIGNALS. Raises UnknownSignal."""
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in SIGNALS:
            [nearest] = difflib.get_close_matches(name, SIGNALS, n=1, cutoff=0)
            raise UnknownSignal(f"{name!r} is no signal, the nearest is {nearest!r}")
    return tuple(name for name in SIGNALS if name in wanted)


class Vehicle:
    """One vehicle: its number, its VIN, its sequence number and its sensors."""

    def __init__(self, entity: int, vin: str, seq: int, seed: int, signals: Sequence[str] = DEFAULT) -> None:
        self.entity = entity
        self.vin = vin
        self.seq = seq
        self.key = str(entity).encode()
        # A random generator of its own: the readings of a vehicle don't depend on the number of vehicles.
        rng = random.Random(f"{seed}/{entity}/{seq}")
        sensors = [sensor for name, sensor in SENSORS.items() if name in signals]
        first = [sensor.first(rng) for sensor in sensors]
        after = [sensor.values_after(value, rng) for sensor, value in zip(sensors, first, strict=True)]
        self._values = zip(*after, strict=True) if after else repeat(())
        self._driving = [number for number, name in enumerate(driving.State._fields) if name in signals]
        self._traffic = driving.Vehicle(entity, seed) if self._driving else None
        fields = ",".join(f'"{name}":{driving.FORMATS.get(name, "%.2f")}' for name in signals)
        # Formatted once, as most of it is the same in every record; read() fills in the time, the signals and the seq.
        self._json = f'{{"time":"%b","entity":{entity},{fields},"seq":%d,"vin":{json.dumps(vin)}}}'.encode()

    def read(self, time: bytes) -> bytes:
        """The next reading, taken at `time` (ISO 8601, UTC, milliseconds), as the JSON sent to Kafka."""
        self.seq += 1
        return self._json % (time, *next(self._values), self.seq)

    def read_driving(self, time: bytes, seconds: float) -> bytes:
        """As read(), with the signals of a vehicle in traffic; `seconds` since the epoch are `time`."""
        assert self._traffic
        self.seq += 1
        state = self._traffic.at(seconds)
        return self._json % (time, *next(self._values), *(state[number] for number in self._driving), self.seq)


class Share(NamedTuple):
    """The vehicles i with i mod of = number."""

    number: int
    of: int

    def parts(self, number: int) -> list["Share"]:
        """As many shares that together are this one."""
        return [Share(self.number + self.of * part, self.of * number) for part in range(number)]


WHOLE = Share(0, 1)


class Fleet:
    """Vehicles 1 to `size`, or a share of them. The same seed gives the same VINs and the same readings.

    `signals` are some of SIGNALS, in their order.
    `last_seq` maps a vehicle to the `seq` of its last reading, from which it continues; 0 where it is missing.
    """

    def __init__(
        self,
        size: int,
        last_seq: Mapping[int, int] | None = None,
        seed: int = 0,
        share: Share = WHOLE,
        signals: Sequence[str] = DEFAULT,
    ) -> None:
        faker = Faker()
        faker.seed_instance(seed)
        seqs = last_seq or {}
        vins = ((entity, faker.vin()) for entity in range(1, size + 1))
        self.vehicles = [
            Vehicle(entity, vin, seqs.get(entity, 0), seed, signals)
            for entity, vin in vins
            if entity % share.of == share.number
        ]
        self._drives = any(name in driving.State._fields for name in signals)

    def records(self, time: str) -> Iterator[Record]:
        """One reading of every vehicle, taken at `time`."""
        encoded = time.encode()
        if self._drives:
            seconds = datetime.fromisoformat(time).timestamp()
            for vehicle in self.vehicles:
                yield vehicle.key, vehicle.read_driving(encoded, seconds)
            return
        for vehicle in self.vehicles:
            yield vehicle.key, vehicle.read(encoded)
