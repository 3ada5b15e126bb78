"""The generator's main program: it connects to Kafka, runs one process or several, and reports how that ends."""

import logging
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing.connection import Connection

from kafka import KafkaProducer
from kafka.errors import KafkaError
from service import log
from service.settings import BadSetting

from generator.delivery import connect
from generator.processes import run_processes, unblock_signals
from generator.run import Report, prepare
from generator.runs import RunLog
from generator.sequence import last_seq
from generator.settings import Settings, checked
from generator.state import StateFile
from generator.stop import Stop

logger = logging.getLogger(__name__)

SERVICE = "sensorgenerator"

# Seconds to wait for Kafka at the start.
WAIT_FOR_KAFKA = 120


def run_generator(constants: Settings) -> int:
    """Send readings for script_duration seconds or until SIGTERM or SIGINT; return the exit code.

    0; 1 after an error; 2 with a bad setting; 130 after SIGINT while connecting.
    """
    log.configure(SERVICE)
    try:
        settings = checked(constants, os.environ)
    except BadSetting as error:
        logger.error("%s", error)
        return 2
    try:
        state_file = StateFile(settings.state_file, settings.script_duration)
    except OSError as error:
        logger.error(
            "The state file %s can't be written: %s. Set GENERATOR_STATE_FILE (or generator_state_file) to a path in a"
            " writable folder.",
            settings.state_file,
            error.strerror or error,
        )
        return 1
    return _run(settings, state_file)


def _run(settings: Settings, state_file: StateFile) -> int:
    servers, topic, runs_topic = settings.kafka_bootstrap_servers, settings.kafka_raw_topic, settings.kafka_runs_topic
    logger.info("connecting to Kafka at %s, for up to %d s", servers, WAIT_FOR_KAFKA)
    try:
        producer = connect(servers, topic, WAIT_FOR_KAFKA)
        run_log = RunLog(connect(servers, runs_topic, WAIT_FOR_KAFKA), runs_topic)
        last = last_seq(servers, topic, settings.num_entities)
    except KeyboardInterrupt:
        state_file.update("stopped")
        return 130
    except KafkaError as error:
        state_file.update("failed")
        logger.error(
            "No readings can be sent to %s at %s: %s. Check that Kafka runs there (waited up to %d s).",
            topic, servers, error, WAIT_FOR_KAFKA,
        )  # fmt: skip
        return 1

    stop = Stop()
    stop.listen()
    state_file.update("sending")
    run_log.update(Report())
    logger.info(
        "%d vehicles send to %s every %g s for %g s%s",
        settings.num_entities,
        topic,
        settings.sensor_interval,
        settings.script_duration,
        f", in {settings.processes} processes" if settings.processes > 1 else "",
    )
    end, died = _send(settings, last, producer, stop, partial(_on_progress, settings, state_file, run_log))

    failed = bool(end.failed or died)
    state = "failed" if failed else "stopped" if stop.received else "finished"
    state_file.update(state, end)
    run_log.close(state, end)
    if end.injected:
        logger.info("injected faults: %s", end.injected)
    how = f"stopped by {stop.received.name}" if stop.received else "finished"
    logger.info("%s: %d sent, %d acknowledged, %d failed", how, end.sent, end.acknowledged, end.failed)
    if end.failed:
        logger.error("%d records were not delivered. The last error: %s", end.failed, end.last_error)
    elif died:
        logger.error("%d of %d processes died, see the warnings above", len(died), settings.processes)
    return int(failed)


def _send(
    settings: Settings,
    last: Mapping[int, int],
    producer: KafkaProducer,
    stop: Stop,
    on_progress: Callable[[Report], None],
) -> tuple[Report, list[int]]:
    """The final report of all processes, and which of them died."""
    if settings.processes == 1:
        return prepare(settings, last, 0, producer, stop).send(on_progress), []
    producer.close()  # Kafka and the topic are there; each process connects for itself
    shares = [(settings, last, process) for process in range(settings.processes)]
    return run_processes(_worker, shares, stop.is_requested, on_progress)


def _on_progress(settings: Settings, state_file: StateFile, run_log: RunLog, report: Report) -> None:
    state_file.update("sending", report)  # first: the log must not be ahead of it
    run_log.update(report)
    logger.info(
        "iteration %d: %d sent, %d acknowledged, %d failed, %.0f of %g s",
        report.iteration,
        report.sent,
        report.acknowledged,
        report.failed,
        report.elapsed,
        settings.script_duration,
    )


def _worker(connection: Connection, settings: Settings, last: Mapping[int, int], process: int) -> None:
    """Run one of several processes, which sends its reports through `connection`."""
    log.configure(SERVICE)
    stop = Stop()

    def on_progress(report: Report) -> None:
        try:
            connection.send(report)
        except BrokenPipeError:  # the main process was killed
            stop.request()

    servers, topic = settings.kafka_bootstrap_servers, settings.kafka_raw_topic
    try:
        producer = connect(servers, topic, WAIT_FOR_KAFKA)
    except KafkaError as error:
        number = f"{process + 1} of {settings.processes}"
        logger.warning("process %s can't send to %s at %s: %s", number, topic, servers, error)
        sys.exit(1)
    stop.listen()
    unblock_signals()
    report = prepare(settings, last, process, producer, stop).send(on_progress)
    on_progress(report._replace(ended=True))
