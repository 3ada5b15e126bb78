"""A history and the live readings after it, by a clock that moves only while the generator waits or sends."""

import json
import signal
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import generator.history
import generator.run
import generator.stop
import pytest
from generator.faults import Faults, Shares
from generator.fleet import Fleet, Record
from generator.history import PARTITION, WAIT_FOR_PROGRESS, History, Progress, first_open_window
from generator.run import Report, Run
from generator.sequence import Last
from generator.stop import Stop
from generator_run import Clock, settings
from kafka.errors import KafkaTimeoutError, TopicAuthorizationFailedError
from kafka_batches import partition_for
from kafka_client.properties import Properties
from recompute import is_reading
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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
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


def test_the_history_and_the_live_readings_are_those_of_a_run_that_began_then(clock: Clock) -> None:
    sender = Sender(clock, live=18)
    sender.kafka.send_takes = 3  # time goes on while the history is sent
    end = sender.send()
    sent = sender.kafka.records

    clock.now = NOW - 597  # the first multiple of the interval after the begin of the history
    slow = Kafka(clock, Stop())
    Run(settings(sensor_interval=INTERVAL, script_duration=10_000), Fleet(VEHICLES), None, slow, Stop()).send(  # type: ignore[arg-type]
        lambda _report: None
    )
    assert sent == slow.records[: len(sent)]
    assert len(sent) == end.sent > VEHICLES * 600 / INTERVAL
    assert end.problem is None


def test_all_of_the_history_is_in_one_partition_and_live_readings_are_in_that_of_their_key(clock: Clock) -> None:
    sender = Sender(clock, live=18)
    end = sender.send()
    live = end.iteration * VEHICLES
    assert end.iteration == 4  # from 10:00:05 on
    assert sender.kafka.partitions == [PARTITION] * (end.sent - live) + [None] * live


@pytest.mark.parametrize("interval", [0.1, 0.25, 5, 7, 3600])
def test_times_are_all_multiples_of_the_interval_from_the_begin_to_the_end(clock: Clock, interval: float) -> None:
    sender = Sender(clock, seconds=100 * interval, live=10 * interval, interval=interval)
    sender.kafka.send_takes = interval / 10
    sender.job.closing = 3.5 * interval
    sender.send()
    first = -(-(NOW - 100 * interval) // interval) * interval
    times = sender.times(1)
    assert times == every(interval, first, first + (len(times) - 1) * interval)
    assert len(times) >= 109


def test_live_readings_wait_until_the_job_has_read_the_history(clock: Clock) -> None:
    sender = Sender(clock, seconds=86_400, live=20, rate=86_400 / 5 * VEHICLES / 300)  # five minutes for the day
    begins: list[float] = []

    def note_live() -> None:
        if sender.kafka.partitions[-1] is None:
            begins.append(sender.clock.now)
            assert sender.job.ends()["0"] - sender.job.read <= VEHICLES * 90 / INTERVAL + VEHICLES

    sender.kafka.after = note_live
    end = sender.send()
    assert begins[0] == pytest.approx(NOW + 303, abs=1) and begins[0] % INTERVAL == pytest.approx(0, abs=0.01)
    assert end.elapsed == pytest.approx(20)  # after the history
    waits = [report for report in sender.reports if report.history and report.history.unread is not None]
    assert len(waits) == 60 + 1  # every five seconds of the five minutes, and once for their own readings
    assert waits[1].history == Progress("2026-11-25T10:00:00.000Z", unread=51_840 - 864)
    assert sender.times(1) == every(INTERVAL, NOW - 86_402 + 5, NOW + 318)


def test_the_rest_after_the_last_wait_is_at_most_half_the_watermark_duration(clock: Clock) -> None:
    """A job that needs 60 s for each of four batches, 57 of them after the first reading that it hasn't read."""
    for watermark, rounds in ((180, 2), (114, 2), (113, 5)):
        clock.now = NOW
        token = {"watermark": 0, "newest": 0, "window_seconds": 60, "watermark_seconds": watermark}
        sender = Sender(clock, seconds=3600, live=0, token=token)
        waits: list[float] = []

        def unread(_ends: Any, waits: list[float] = waits, sender: Sender = sender) -> int:
            if sender.kafka.sent and len(waits) < 4:
                waits.append(clock.now)
                clock.sleep(60)
            return 0

        sender.job.unread = unread  # type: ignore[method-assign]
        sender.send()
        assert 1 + len(waits) == rounds


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


@pytest.mark.parametrize(("partition", "waits", "any_late"), [(0, True, False), (None, True, True), (0, False, True)])
def test_no_reading_is_late_in_one_partition_with_live_readings_that_wait(
    partition: int | None, waits: bool, any_late: bool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator.history, "PARTITION", partition)
    sender = Sender(clock, seconds=3600, live=600)
    sender.history.job = job = LateJob(clock, sender.kafka, waits)  # type: ignore[assignment]
    end = sender.send()
    assert end.problem is None and end.iteration == 120
    while sum(job.offsets) < end.sent:
        job.batch()
    assert job.batches > 3600 / INTERVAL * VEHICLES / sum(job.rates)
    assert (job.late > 0) == any_late


def test_a_job_that_stays_behind_ends_the_run_with_one_sentence(clock: Clock) -> None:
    sender = Sender(clock, token={"watermark": 0, "newest": 0, "window_seconds": 5, "watermark_seconds": 5})
    asked: list[float] = []

    def unread(_ends: Any) -> int:
        asked.append(clock.now)
        clock.sleep(0 if sender.kafka.sent == 0 else 8)  # longer than half of 5 s, and than an interval
        return 0

    sender.job.unread = unread  # type: ignore[method-assign]
    end = sender.send()
    assert end.problem == (
        "For 600 s, the windows job has been more than half its watermark duration behind: live readings might be late."
        " Raise WATERMARK_DURATION (or watermark_duration in pyspark.py)."
    )
    assert asked[-1] - NOW == pytest.approx(600, abs=16)


def test_the_wait_for_the_first_live_readings_is_reported(clock: Clock) -> None:
    sender = Sender(clock, seconds=7200, live=0, interval=60)
    sender.send()
    waits = [report for report in sender.reports if not report.history]
    assert waits == [Report(0, 0, 360, 360)] * 11  # until 10:01:00


def test_nothing_is_sent_before_the_job_has_read_what_the_topic_has(clock: Clock) -> None:
    sender = Sender(clock, rate=10)
    sender.kafka.send([(b"9", b"{}")] * 100)  # of somebody else
    sent_at: list[float] = []
    sender.kafka.after = lambda: sent_at.append(clock.now)
    sender.send()
    assert sent_at[0] == pytest.approx(NOW + 10, abs=0.5)


def test_a_job_that_reads_nothing_ends_the_run_with_one_sentence(clock: Clock) -> None:
    sender = Sender(clock, rate=0)
    end = sender.send()
    assert end.problem == (
        "The windows job has read nothing for 600 s and has 360 records of the raw topic left: live readings would make"
        " the history late. Check that the job runs (`make doctor`), and start the generator again: the history goes on"
        " where it was."
    )
    assert (end.iteration, end.sent) == (0, 360)
    assert clock.now == pytest.approx(NOW + WAIT_FOR_PROGRESS, abs=1)
    assert set(sender.kafka.partitions) == {PARTITION}


def test_an_error_of_kafka_that_passes_is_no_end_and_another_one_is(clock: Clock) -> None:
    sender = Sender(clock, rate=100)
    sender.kafka.after = lambda: None if sender.job.fails or sender.job.read else fail_once()
    failed: list[int] = []

    def fail_once() -> None:
        failed.append(sender.kafka.sent)

    original = sender.job.unread

    def unread(ends: dict[str, int]) -> int:
        if failed and len(failed) < 3 and clock.now > NOW:
            failed.append(0)
            raise KafkaTimeoutError("no answer")
        return original(ends)

    sender.job.unread = unread  # type: ignore[method-assign]
    assert sender.send().problem is None
    assert len(failed) == 3
    sender = Sender(clock)
    sender.job.fails = [TopicAuthorizationFailedError("sensor-data-progress")]
    end = sender.send()
    assert end.problem and "does not let this client use the topic sensor-data-progress" in end.problem
    assert end.sent == 0


def test_progress_is_reported_once_a_second_with_the_rate_and_the_time_left(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator.history, "BLOCK", 12 * VEHICLES)
    sender = Sender(clock, seconds=3600, live=0)
    sender.kafka.send_takes = 0.5
    sender.send()
    sending = [report.history for report in sender.reports if report.history and report.history.unread is None]
    assert len(sending) == 30
    assert sending[0] == Progress("2026-11-25T09:02:00.000Z", readings_per_second=72, seconds_left=29)
    assert str(sending[0]) == "72 readings/s, 29 s left"
    assert str(Progress("", unread=1234)) == "waits for the windows job, which has 1,234 records left to read"


def test_a_stop_ends_the_history_between_two_iterations(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator.history, "BLOCK", 1)
    sender = Sender(clock)
    sender.kafka.after = lambda: sender.stop.request(signal.SIGTERM) if sender.kafka.sent == 30 else None
    end = sender.send()
    assert (end.sent, end.iteration, end.problem) == (30, 0, None)


def test_records_that_are_not_delivered_end_the_run(clock: Clock) -> None:
    sender = Sender(clock)
    sender.kafka.failed = 1
    end = sender.send()
    assert end.problem == "Readings of the history were not delivered."
    assert (end.iteration, end.failed) == (0, 1)


def test_faults_are_injected_into_live_readings_only(clock: Clock) -> None:
    sender = Sender(clock, live=100)
    sender.run.faults = Faults(Shares(malformed=0.5), late_by=300, out_of_order_by=2, duration=100)
    end = sender.send()
    values = [value for _, value in sender.kafka.records]
    records = [json.loads(value) if value.endswith(b"}") else None for value in values]
    live = end.iteration * VEHICLES
    assert all(is_reading(record, VEHICLES) for record in records[:-live])
    seqs = [(record["entity"], record["seq"]) for record in records if is_reading(record, VEHICLES)]
    of_vehicles = [[seq for vehicle, seq in seqs if vehicle == entity] for entity in range(1, VEHICLES + 1)]
    assert end.injected and end.injected["readings"] == len(seqs) - (end.sent - live)
    # The first malformed record comes after the history, so it leaves a gap.
    assert end.injected["gaps"] == sum(max(found) - min(found) + 1 - len(found) for found in of_vehicles) > 0


def test_a_restart_goes_on_where_each_vehicle_was(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    # Killed while it sent the iteration of 09:55:10: vehicle 3 is missing.
    at = round((NOW - 292) * 1000)
    last = {1: Last(7, at, 0), 2: Last(7, at, 0), 3: Last(6, at - 5000, 0)}
    sender = Sender(clock, last=last, live=10)
    sender.send()
    assert sender.times(1) == sender.times(2) == every(INTERVAL, NOW - 287, NOW + 8)
    assert sender.times(3) == every(INTERVAL, NOW - 292, NOW + 8)
    assert json.loads(sender.kafka.records[0][1])["seq"] == 7
    assert caplog.messages == [
        "The history begins at 2026-11-25T09:55:05.000Z instead of 2026-11-25T09:50:02.000Z: the topic has the readings"
        " of this fleet up to then. Only `make reset` (or docker compose down --volumes) removes the data, for a longer"
        " history."
    ]


@pytest.mark.parametrize("interval", [0.1, 5])
def test_the_history_begins_where_the_job_has_closed_the_windows(
    clock: Clock, interval: float, caplog: pytest.LogCaptureFixture
) -> None:
    token = {"watermark": 1_795_600_630_000, "newest": 0, "window_seconds": 60, "watermark_seconds": 90}
    sender = Sender(clock, token=token, live=0, interval=interval)
    sender.send()
    assert sender.times(1)[0] == "2026-11-25T09:57:00.000Z"
    assert "The history begins at 2026-11-25T09:57:00.000Z instead of " in caplog.text


@pytest.mark.parametrize(
    ("watermark", "newest", "begin"),
    [
        (0, 0, 0),
        (120_000, 300_000, 120),  # the start of the window that the watermark has reached
        (150_000, 300_000, 120),  # within a window, which is open
        (120_000, 360_000, 180),  # the next batch closes up to newest - 180 s
        (120_000, 359_999, 120),
    ],
)
def test_the_first_open_window_is_that_of_the_watermark_to_come(watermark: int, newest: int, begin: float) -> None:
    token = {"watermark": watermark, "newest": newest, "window_seconds": 60, "watermark_seconds": 180}
    assert first_open_window(token) == begin
