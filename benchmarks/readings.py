"""A topic full of readings, the same ones each time, and the windows that must come of them, in plain Python."""

import heapq
import json
import random
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

from broker import SERVERS, create_topic
from generator.delivery import Deliveries, connect
from generator.fleet import Fleet, Record
from kafka_client import KafkaClient
from measure import WrongResult
from service.state import iso_time

START = 1767225600.0  # 2026-01-01T00:00:00Z
RATE = 2_000_000 / 1800  # readings per second of event time, for any number of vehicles
WATERMARK = 180  # seconds
CONNECT_TIMEOUT = 30  # seconds
Window = tuple[int, str]  # start in seconds since the epoch, vehicle


class Shape(NamedTuple):
    """The content of a topic.

    `disorder` is the share of readings that come up to a minute late, `rate` the readings per second of event time.
    With `text`, vehicle 7 is named "truck-7".
    """

    rows: int
    vehicles: int
    disorder: float = 0
    window: int = 60  # seconds, the length of its windows
    rate: float = RATE
    text: bool = False

    @property
    def name(self) -> str:
        disorder = "-disorder" if self.disorder else ""
        window = f"-{self.window}-s-windows" if self.window != 60 else ""
        every = f"-every-{self.vehicles / self.rate:g}-s" if self.rate != RATE else ""
        text = "-text" if self.text else ""
        return f"{self.rows // 1_000_000}M-{self.vehicles}-vehicles{disorder}{window}{every}{text}"


class Sums:
    """The aggregates of a vehicle's window. Temperatures are in hundredths of a degree, so that sums are exact."""

    __slots__ = ("count", "humidity", "latest", "maximum", "minimum", "total")

    def __init__(self) -> None:
        self.count = self.total = 0
        self.minimum, self.maximum = 10**6, -(10**6)
        self.latest, self.humidity = ("", 0), 0.0

    def add(self, temp: int, humidity: float, latest: tuple[str, int]) -> None:
        self.count += 1
        self.total += temp
        self.minimum, self.maximum = min(self.minimum, temp), max(self.maximum, temp)
        if latest > self.latest:
            self.latest, self.humidity = latest, humidity

    def values(self) -> dict[str, Any]:
        average = (Decimal(self.total) / self.count / 100).quantize(Decimal("0.01"), ROUND_HALF_UP)
        return {
            "count": self.count,
            "avg_temp": float(average),
            "min_temp": self.minimum / 100,
            "max_temp": self.maximum / 100,
            "last_humidity": self.humidity,
        }


def records(shape: Shape, seed: int = 0) -> Iterator[tuple[float, Record]]:
    """Event time and record, `shape.rows` of them, in the order in which they are sent."""
    fleet, rng = Fleet(shape.vehicles), random.Random(seed)
    held: list[tuple[float, int, float, Record]] = []
    number = 0
    while number < shape.rows:
        at = START + number / shape.rate
        text = iso_time(at)
        while held and held[0][0] <= at:
            yield held[0][2], heapq.heappop(held)[3]
        for record in map(named, fleet.records(text)) if shape.text else fleet.records(text):
            number += 1
            if shape.disorder and rng.random() < shape.disorder:
                heapq.heappush(held, (at + rng.uniform(1, 60), number, at, record))
            else:
                yield at, record
    yield from ((at, record) for _, _, at, record in sorted(held))


def named(record: Record) -> Record:
    """The record with a text as the entity."""
    key, value = record
    return b"truck-" + key, value.replace(b'"entity":' + key, b'"entity":"truck-' + key + b'"', 1)


def deliver(servers: str, topic: str, sent: Iterator[Record]) -> None:
    """Send records as the generator does. Raises WrongResult unless all of them are acknowledged."""
    producer = connect(KafkaClient(servers), topic, CONNECT_TIMEOUT)
    deliveries = Deliveries(producer, topic, max_in_flight=200_000, stopping=lambda: False)
    deliveries.send(sent)
    deliveries.close(60)
    if deliveries.failed:
        raise WrongResult(f"{deliveries.failed} readings were not delivered: {deliveries.last_error}")


def fill(shape: Shape) -> tuple[str, dict[Window, Sums]]:
    """Create and fill a topic of that shape. Returns its name and all its windows; raises WrongResult."""
    topic = create_topic(f"readings-{shape.name}", "raw")
    windows: dict[Window, Sums] = {}
    deliver(SERVERS, topic, counted(shape, windows))
    return topic, windows


def counted(shape: Shape, windows: dict[Window, Sums]) -> Iterator[Record]:
    """The records, which are added to `windows`."""
    for at, record in records(shape):
        reading = json.loads(record[1])
        window = int(at) // shape.window * shape.window, str(reading["entity"])
        if window not in windows:
            windows[window] = Sums()
        sums = windows[window]
        sums.add(round(reading["temp"] * 100), reading["humidity"], (reading["time"], reading["seq"]))
        yield record


def closed(shape: Shape, windows: dict[Window, Sums]) -> dict[Window, dict[str, Any]]:
    """The windows that the watermark closes, with their values."""
    iterations = -(-shape.rows // shape.vehicles)
    newest = START + (iterations - 1) * shape.vehicles / shape.rate
    return {window: sums.values() for window, sums in windows.items() if window[0] + shape.window <= newest - WATERMARK}
