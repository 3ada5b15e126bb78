"""A run with a history, with a clock that moves only while the generator waits or sends, without Kafka and the job."""

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import generator.history
import generator.run
import generator.stop
import pytest
from generator.fleet import Fleet, Record
from generator.history import History
from generator.run import Report, Run
from generator.stop import Stop
from generator_run import Clock, settings
from kafka_batches import partition_for
from kafka_client.properties import Properties
from service.state import iso_time

NOW = 1_795_600_802.0  # 2026-11-25T10:00:02Z
VEHICLES, INTERVAL = 3, 5


class Kafka:
    """Stands in for Deliveries: keeps the records. Each call of send() takes `send_takes` seconds."""

    def __init__(self, clock: Clock, stop: Stop, send_takes: float = 0) -> None:
        self.clock, self.stop, self.send_takes = clock, stop, send_takes
        self.records: list[tuple[bytes, bytes]] = []
        self.partitions: list[int | None] = []  # of each record
        self.sent = self.acknowledged = self.failed = 0
        self.last_error = None
        self.after: Callable[[], None] = lambda: None  # called after each send()

    def send(self, records: Iterable[Record], to: int | None = None) -> None:
        for record in records:
            self.records.append(record)
            self.partitions.append(to)
        self.sent = self.acknowledged = len(self.records)
        self.clock.sleep(self.send_takes)
        self.after()

    def settle(self) -> None:
        pass

    def await_results(self) -> None:
        pass

    def close(self, timeout: float) -> None:
        pass


class Job:
    """Stands in for WindowsJob: it reads `rate` records per second of what Kafka got."""

    def __init__(self, clock: Clock, kafka: Kafka, rate: float = 1e9, token: dict[str, Any] | None = None) -> None:
        self.clock, self.kafka, self.rate = clock, kafka, rate
        self.read, self.at = 0.0, clock.now
        self.first_token = token
        self.closing = 0.0  # seconds
        self.fails: list[Exception] = []

    def __enter__(self) -> "Job":
        return self

    def __exit__(self, *_: object) -> None:
        self.clock.sleep(self.closing)

    def ends(self) -> dict[str, int]:
        return {"0": self.kafka.sent, "1": 0}

    def unread(self, ends: dict[str, int]) -> int:
        if self.fails:
            raise self.fails.pop()
        self.read = min(self.kafka.sent, self.read + (self.clock.now - self.at) * self.rate)
        self.at = self.clock.now
        return max(0, ends["0"] - round(self.read))

    def token(self) -> dict[str, Any] | None:
        first = {"watermark": 0, "newest": 0, "window_seconds": 60, "watermark_seconds": 180}
        return self.first_token or (first if self.read else None)


class LateJob(Job):
    """Reads one batch per second, of each partition as many records as `rates` says, and counts the late readings.

    As Spark does: a reading is late if the watermark has reached the end of its window, and a batch leaves the
    watermark at the newest time less the watermark duration.
    """

    rates = 60, 20

    def __init__(self, clock: Clock, kafka: Kafka, waits_for_it: bool = True) -> None:
        super().__init__(clock, kafka)
        self.waits_for_it = waits_for_it
        self.offsets, self.watermark, self.newest, self.late, self.batches = [0, 0], 0.0, 0.0, 0, 0
        kafka.after = self.advance

    def advance(self) -> None:
        while self.at + 1 <= self.clock.now:
            self.at += 1
            self.batch()

    def batch(self) -> None:
        for partition, rate in enumerate(self.rates):
            records = self.in_partition(partition)[self.offsets[partition] :][:rate]
            self.offsets[partition] += len(records)
            for record in records:
                time = datetime.fromisoformat(json.loads(record)["time"]).timestamp()
                self.late += time // 60 * 60 + 60 <= self.watermark
                self.newest = max(self.newest, time)
        self.watermark = self.newest - 180
        self.batches += 1

    def in_partition(self, partition: int) -> list[bytes]:
        both = zip(self.kafka.records, self.kafka.partitions, strict=True)
        return [value for (key, value), to in both if (partition_for(key, 2) if to is None else to) == partition]

    def ends(self) -> dict[str, int]:
        return {str(partition): len(self.in_partition(partition)) for partition in (0, 1)}

    def unread(self, ends: dict[str, int]) -> int:
        self.advance()
        unread = sum(max(0, end - self.offsets[int(partition)]) for partition, end in ends.items())
        return unread if self.waits_for_it else 0


def patched_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of all modules that a run with a history uses."""
    clock = Clock()
    clock.now = NOW
    for module in (generator.run, generator.stop, generator.history):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(generator.run, "utc_now", lambda: iso_time(clock.now))
    return clock


class Sender:
    """A run with a history of `seconds` and live readings of `live` seconds, and what it is made of."""

    def __init__(
        self,
        clock: Clock,
        seconds: float = 600,
        live: float = 20,
        interval: float = INTERVAL,
        last: Any = (),
        **job: Any,
    ) -> None:
        self.clock, self.stop = clock, Stop()
        self.kafka = Kafka(clock, self.stop)
        self.job = Job(clock, self.kafka, **job)
        self.fleet = Fleet(VEHICLES, {entity: each.seq for entity, each in dict(last).items()})
        self.history = History(
            seconds, interval, self.fleet, self.kafka, self.job, lambda: dict(last), self.stop  # type: ignore[arg-type]
        )  # fmt: skip
        given = settings(sensor_interval=interval, script_duration=live, kafka_client_properties=Properties())
        self.run = Run(given, self.fleet, None, self.kafka, self.stop, self.history)  # type: ignore[arg-type]
        self.reports: list[Report] = []

    def send(self) -> Report:
        return self.run.send(self.reports.append)

    def times(self, vehicle: int) -> list[str]:
        """The times of a vehicle's readings, whose seqs must follow each other."""
        readings = [json.loads(value) for key, value in self.kafka.records if key == b"%d" % vehicle]
        first = readings[0]["seq"]
        assert [reading["seq"] for reading in readings] == list(range(first, first + len(readings)))
        return [reading["time"] for reading in readings]


def every(interval: float, first: float, last: float) -> list[str]:
    return [iso_time(first + number * interval) for number in range(round((last - first) / interval) + 1)]
