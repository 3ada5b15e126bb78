"""What a run with a history sends: the readings, their times, their partitions and where it begins."""

import json
import signal

import generator.history
import pytest
from generator.faults import Faults, Shares
from generator.fleet import Fleet
from generator.history import PARTITION, first_open_window
from generator.run import Run
from generator.sequence import Last
from generator.stop import Stop
from generator_run import Clock, settings
from history_fakes import INTERVAL, NOW, VEHICLES, Kafka, Sender, every, patched_clock
from recompute import is_reading


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return patched_clock(monkeypatch)


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
