"""The simulated fleet: which vehicles there are and what their sensors read. Seeded; no clock, no Kafka."""

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import sqrt

from faker import Faker

Record = tuple[bytes, bytes]  # key and value, as they go to Kafka


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

    def readings_after(self, last: float, rng: random.Random) -> Iterator[float]:
        """The readings that follow `last`, without an end."""
        # All in local variables: this runs for every number of every record.
        mean, low, high, correlation, gauss = self.mean, self.low, self.high, self.correlation, rng.gauss
        noise_sd = self.sd * sqrt(1 - correlation**2)
        while True:
            last = mean + correlation * (last - mean) + noise_sd * gauss()
            if not low <= last <= high:
                last = self._within(last)
            yield last

    def _within(self, value: float) -> float:
        return min(max(value, self.low), self.high)


# Every sensor of a vehicle: its name in the record and how it reads.
SENSORS = {
    "temp": Sensor(mean=20, sd=1, low=-50, high=60),  # degrees Celsius
    "humidity": Sensor(mean=35, sd=5, low=0, high=100),  # percent, relative
}


class Vehicle:
    """One vehicle: its number, its VIN, its reading counter and the readings of each sensor."""

    def __init__(self, entity: int, vin: str, seq: int, seed: int) -> None:
        self.entity = entity
        self.vin = vin
        self.seq = seq
        self.key = str(entity).encode()
        # A generator of its own: what a vehicle reads doesn't depend on how many others there are.
        rng = random.Random(f"{seed}/{entity}/{seq}")
        first = [sensor.first(rng) for sensor in SENSORS.values()]
        after = [sensor.readings_after(value, rng) for sensor, value in zip(SENSORS.values(), first, strict=True)]
        self._readings = zip(*after, strict=True)
        sensors = ",".join(f'"{name}":%.2f' for name in SENSORS)
        # What stays the same in every record is written once; %b, %.2f and %d are left for read().
        self._json = f'{{"time":"%b","entity":{entity},{sensors},"seq":%d,"vin":{json.dumps(vin)}}}'.encode()

    def read(self, time: bytes) -> bytes:
        """The next reading, taken at `time` (ISO 8601, UTC, milliseconds): the JSON as it goes to Kafka."""
        self.seq += 1
        return self._json % (time, *next(self._readings), self.seq)


class Fleet:
    """Vehicles 1 to `size`; the same seed gives the same VINs and the same readings.

    `last_seq` maps a vehicle to the `seq` of its last known reading, from which its counter goes on; 0 where unknown.
    Of several `shards` it holds the vehicles of one, vehicle i in shard i mod shards, as they are in the whole fleet.
    """

    def __init__(
        self, size: int, last_seq: Mapping[int, int] | None = None, seed: int = 0, shard: int = 0, shards: int = 1
    ) -> None:
        faker = Faker()
        faker.seed_instance(seed)
        seqs = last_seq or {}
        vins = ((entity, faker.vin()) for entity in range(1, size + 1))
        self.vehicles = [
            Vehicle(entity, vin, seqs.get(entity, 0), seed) for entity, vin in vins if entity % shards == shard
        ]

    def records(self, time: str) -> Iterator[Record]:
        """One reading of every vehicle, taken at `time`."""
        encoded = time.encode()
        for vehicle in self.vehicles:
            yield vehicle.key, vehicle.read(encoded)
