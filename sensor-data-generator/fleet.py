"""The simulated fleet: which vehicles there are and what their sensors read. Seeded; no clock, no Kafka."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import sqrt

from faker import Faker


@dataclass(frozen=True)
class Sensor:
    """Readings that wander around `mean`: normally distributed in the long run, each close to the one before.

    A first-order autoregressive process, x' = mean + r (x - mean) + sd sqrt(1 - r^2) e with e ~ N(0, 1),
    whose stationary distribution is N(mean, sd^2) for every correlation 0 <= r < 1
    (Box, Jenkins, Reinsel, Ljung: Time Series Analysis, section 3.2.3).
    """

    mean: float
    sd: float
    low: float
    high: float
    correlation: float = 0.95  # of a reading with the one before

    def first(self, rng: random.Random) -> float:
        return self._within(rng.gauss(self.mean, self.sd))

    def next(self, last: float, rng: random.Random) -> float:
        noise = self.sd * sqrt(1 - self.correlation**2) * rng.gauss(0, 1)
        return self._within(self.mean + self.correlation * (last - self.mean) + noise)

    def _within(self, value: float) -> float:
        return min(max(value, self.low), self.high)


# Every sensor of a vehicle: its name in the record and how it reads.
SENSORS = {
    "temp": Sensor(mean=20, sd=1, low=-50, high=60),  # degrees Celsius
    "humidity": Sensor(mean=35, sd=5, low=0, high=100),  # percent, relative
}


class Vehicle:
    """One vehicle: its number, its VIN, its reading counter and the present value of each sensor."""

    def __init__(self, entity: int, vin: str, seq: int, seed: int) -> None:
        self.entity = entity
        self.vin = vin
        self.seq = seq
        # A generator of its own: what a vehicle reads doesn't depend on how many others there are.
        self._rng = random.Random(f"{seed}/{entity}/{seq}")
        self._values = {name: sensor.first(self._rng) for name, sensor in SENSORS.items()}

    def read(self, time: str) -> dict[str, str | int | float]:
        """The next reading, taken at `time` (ISO 8601, UTC, milliseconds): the record as it goes to Kafka."""
        self.seq += 1
        for name, sensor in SENSORS.items():
            self._values[name] = sensor.next(self._values[name], self._rng)
        return {
            "time": time,
            "entity": self.entity,
            "temp": round(self._values["temp"], 2),
            "humidity": round(self._values["humidity"], 2),
            "seq": self.seq,
            "vin": self.vin,
        }


class Fleet:
    """Vehicles 1 to `size`; the same seed gives the same VINs and the same readings.

    `last_seq` maps a vehicle to the `seq` of its last known reading, from which its counter goes on; 0 where unknown.
    """

    def __init__(self, size: int, last_seq: Mapping[int, int] | None = None, seed: int = 0) -> None:
        faker = Faker()
        faker.seed_instance(seed)
        seqs = last_seq or {}
        self.vehicles = [Vehicle(entity, faker.vin(), seqs.get(entity, 0), seed) for entity in range(1, size + 1)]

    def readings(self, time: str) -> Iterator[dict[str, str | int | float]]:
        """One reading of every vehicle, taken at `time`."""
        for vehicle in self.vehicles:
            yield vehicle.read(time)
