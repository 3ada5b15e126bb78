"""The replay's main program: it reads a recording, says what is in it, and sends it."""

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kafka import KafkaProducer
from kafka.errors import KafkaError
from kafka_client import await_access, explained
from service import contract
from service.settings import BadSetting
from service.state import iso_time

from generator.delivery import Deliveries, connect
from generator.history import first_open_window
from generator.job import WindowsJob
from generator.replay import times
from generator.replay.errors import BadRecording, NoRoom
from generator.replay.recording import Recording, Summary
from generator.replay.sending import PARTITION, Sending
from generator.run import WAIT_FOR_ACKNOWLEDGEMENTS, Report
from generator.runs import RunLog
from generator.settings import Settings
from generator.state import StateFile, claim
from generator.stop import Stop

WAIT_FOR_KAFKA = 120  # seconds
WAIT_FOR_JOB = 60  # seconds until the windows job has read what others have sent before
READ_REPORT_INTERVAL = 5  # seconds
SHOWN = 10  # records of a dry run

logger = logging.getLogger(__name__)


def run_replay(settings: Settings) -> int:
    """Replay a recording and return the exit code.

    0; 1 after an error; 2 if the recording, its mapping or its times can't be used; 130 after SIGINT while reading.
    """
    state_file = recording = None
    ended = False
    try:
        raw = contract.topics()["raw"].schema
        instance = claim(settings.state_file)
        if not settings.replay_dry_run:
            state_file = StateFile(instance.path, duration=0)
            state_file.update("sending")
        recording = Recording(settings.replay_file, settings.replay_map, raw, instance.path.with_suffix(".sorting"))
        replay = Replay(settings, recording, raw["properties"]["time"]["x-seconds-ahead"])
        replay.read()
        code = replay.send(state_file) if state_file else replay.show()
        ended = True
        return code
    except (BadRecording, BadSetting) as error:
        logger.error("%s", error)
        return 2
    except NoRoom as error:
        logger.error("%s", error)
    except KafkaError as error:
        problem = f"No readings can be sent to {settings.kafka_raw_topic} at {settings.kafka.servers}: {error}."
        logger.error("%s", explained(settings.kafka, error) or problem)
    except OSError as error:
        logger.error(
            "The folder %s can't be written: %s. Set GENERATOR_STATE_FILE to a path in a writable folder.",
            settings.state_file.parent, error.strerror or error,
        )  # fmt: skip
    except KeyboardInterrupt:
        return 130
    finally:
        if state_file and not ended:
            state_file.update("failed")
        if recording:
            recording.close()
    return 1


@dataclass
class Replay:
    """A recording, and what is done with it. The methods raise BadRecording, NoRoom and KafkaError."""

    settings: Settings
    recording: Recording
    seconds_ahead: int  # of Kafka's clock that the contract allows

    def __post_init__(self) -> None:
        self.summary = Summary()

    def read(self) -> None:
        """Read the files and log what they hold."""
        names = self.recording.names
        others = f" and {len(names) - 1:,} other files" if len(names) > 1 else ""
        logger.info("reads %s%s; sorts what exceeds the memory in %s", names[0], others, self.recording.folder)
        with _progress(self.recording):
            self.summary = found = self.recording.read(with_seq=not self.settings.replay_loop)
        for problem in found.problems:
            logger.warning("not mapped: %s", problem)
        if found.unused_columns:
            logger.info("columns that are not mapped: %s", ", ".join(found.unused_columns))
        if not found.records:
            why = f": {found.problems[0]}" if found.problems else ", because it has no row"
            raise BadRecording(
                f"{names[0]} has no reading that can be sent{why}. A mapping (REPLAY_MAP) names the columns, and the"
                " format and the zone of the times."
            )
        logger.info(
            "%d rows are %d readings of %d entities, from %s to %s",
            found.rows, found.records, found.entities, iso_time(found.first / 1e6), iso_time(found.last / 1e6),
        )  # fmt: skip
        if found.out_of_range:
            listed = ", ".join(f"{number:,} of {name}" for name, number in found.out_of_range.items())
            logger.warning("out of the contract's range, so the windows job will reject the readings: %s", listed)

    def show(self) -> int:
        """Print the first records as they would be sent, and return the exit code."""
        shift = self._shift(time.time_ns() // 1000)
        first = self.recording.first(SHOWN, shift)
        for _, _, value in first:
            print(value.decode())
        sys.stdout.flush()
        logger.info(
            "dry run: these are the first %d of %d readings; nothing was sent", len(first), self.summary.records
        )
        self._check_not_ahead(shift)
        return 0

    def send(self, state_file: StateFile) -> int:
        """Send all readings and return the exit code."""
        settings = self.settings
        producer, run_log, shift = self._connect()
        speed = (
            f"{settings.replay_speed:g} times as fast as recorded" if settings.replay_speed else "as fast as possible"
        )
        logger.info(
            "sends to partition %d of %s, times: %s, %s%s. A replay that is killed and started again sends the same"
            " readings again.",
            PARTITION, settings.kafka_raw_topic, settings.replay_times, speed, ", in a loop" * settings.replay_loop,
        )  # fmt: skip
        stop = Stop()
        stop.listen()
        deliveries = Deliveries(producer, settings.kafka_raw_topic, settings.max_in_flight, stop.is_requested)

        def on_progress(report: Report) -> None:
            state_file.update("sending", report)
            run_log.update(report)
            logger.info("%s", sending.described(report))

        sending = Sending(
            self.recording, self.summary, settings.replay_speed, settings.replay_loop, self.seconds_ahead, deliveries,
            stop, on_progress,
        )  # fmt: skip
        state = "failed"
        try:
            sending.send(shift)
            state = "stopped" if stop.received else "finished"
        finally:
            deliveries.close(WAIT_FOR_ACKNOWLEDGEMENTS)
            end = sending.report()
            state = "failed" if end.failed else state
            state_file.update(state, end)
            run_log.close(state, end)
        logger.info(
            "%s: %d sent, %d acknowledged, %d failed, in %.1f s: %.0f readings/s",
            f"stopped by {stop.received.name}" if stop.received else "finished",
            end.sent, end.acknowledged, end.failed, end.elapsed, end.sent / max(end.elapsed, 0.001),
        )  # fmt: skip
        if end.failed:
            cause = explained(settings.kafka, end.last_error) or end.last_error
            logger.error("%d records were not delivered. The last error: %s", end.failed, cause)
        return int(bool(end.failed))

    def _connect(self) -> tuple[KafkaProducer, RunLog, int]:
        """What the readings are sent with, and the shift of their times: the windows job takes them."""
        settings = self.settings
        self._check_not_ahead(self._shift(time.time_ns() // 1000))  # before waiting for Kafka
        await_access(settings.kafka, WAIT_FOR_KAFKA)
        producer = connect(settings.kafka, settings.kafka_raw_topic, WAIT_FOR_KAFKA)
        open_from = self._open_from()
        shift = self._shift(time.time_ns() // 1000)
        times.check_not_late(self.summary.first + shift, open_from)
        run_log = RunLog(connect(settings.kafka, settings.kafka_runs_topic, WAIT_FOR_KAFKA), settings.kafka_runs_topic)
        run_log.update(Report())
        return producer, run_log, shift

    def _open_from(self) -> float:
        """The start of the first open window in seconds since the epoch, once the job has read what is in the topic."""
        settings, deadline = self.settings, time.monotonic() + WAIT_FOR_JOB
        with WindowsJob(settings.kafka, settings.kafka_raw_topic, settings.kafka_progress_topic) as job:
            ends = job.ends()
            while (token := job.token()) and (unread := job.unread(ends)):
                if time.monotonic() > deadline:
                    logger.warning(
                        "the windows job has %d records of %s still to read: after them, the readings of this recording"
                        " may be late", unread, settings.kafka_raw_topic,
                    )  # fmt: skip
                    break
                time.sleep(1)
            return first_open_window(token) if token else 0

    def _shift(self, now: int) -> int:
        return times.shift(self.settings.replay_times, self.summary.first, self.summary.last, now)

    def _check_not_ahead(self, shift: int) -> None:
        found = self.summary
        now, speed = time.time_ns() // 1000, self.settings.replay_speed
        times.check_not_ahead(found.first + shift, found.last + shift, speed, now, self.seconds_ahead)


@contextmanager
def _progress(recording: Recording) -> Iterator[None]:
    """Log every few seconds how far the reading is."""
    ended = threading.Event()

    def log() -> None:
        begin = time.monotonic()
        while not ended.wait(READ_REPORT_INTERVAL):
            percent = recording.progress()
            share = f", {percent:.0f} % of this step" if percent >= 0 else ""
            logger.info("reads and sorts for %.0f s%s", time.monotonic() - begin, share)

    thread = threading.Thread(target=log, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
