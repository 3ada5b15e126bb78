"""What a run with a history waits for, what it reports meanwhile, and how it ends when that doesn't come."""

from typing import Any

import generator.history
import pytest
from generator.history import PARTITION, WAIT_FOR_PROGRESS, Progress
from generator.run import Report
from generator_run import Clock
from history_fakes import INTERVAL, NOW, VEHICLES, LateJob, Sender, every, patched_clock
from kafka.errors import KafkaTimeoutError, TopicAuthorizationFailedError


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return patched_clock(monkeypatch)


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
