"""The generator's main program: it connects to Kafka, runs one process or several, and reports how that ends."""

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from typing import NamedTuple

from kafka import KafkaProducer
from kafka.errors import KafkaError
from kafka_client import await_access, explained
from service import log
from service.settings import BadSetting

from generator.delivery import connect
from generator.fleet import WHOLE, Share
from generator.membership import Member
from generator.processes import end_with_the_main_process, run_processes, unblock_signals
from generator.run import Report, prepare
from generator.runs import RunLog
from generator.sequence import last_seq
from generator.settings import Settings, checked
from generator.state import Instance, StateFile, claim
from generator.stop import Stop

logger = logging.getLogger(__name__)

SERVICE = "sensorgenerator"

# Seconds to wait for Kafka at the start, and at each attempt to go on with another share of the vehicles.
WAIT_FOR_KAFKA = 120
WAIT_AGAIN = 10


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
    if settings.replay_file:  # the processes of a simulated fleet need no DuckDB
        from generator.replay.main import run_replay  # noqa: PLC0415

        return run_replay(settings)
    try:
        instance = claim(settings.state_file)
        state_file = StateFile(instance.path, settings.script_duration)
    except OSError as error:
        logger.error(
            "The state file %s can't be written: %s. Set GENERATOR_STATE_FILE (or generator_state_file) to a path in a"
            " writable folder.",
            settings.state_file,
            error.strerror or error,
        )
        return 1
    with ExitStack() as ending:
        return _run(settings, instance, state_file, ending)


def _run(settings: Settings, instance: Instance, state_file: StateFile, ending: ExitStack) -> int:
    kafka, topic, runs_topic = settings.kafka, settings.kafka_raw_topic, settings.kafka_runs_topic
    logger.info("connecting to Kafka at %s, for up to %d s", kafka.servers, WAIT_FOR_KAFKA)
    try:
        await_access(kafka, WAIT_FOR_KAFKA)
        producer = connect(kafka, topic, WAIT_FOR_KAFKA)
        run_log = RunLog(connect(kafka, runs_topic, WAIT_FOR_KAFKA), runs_topic)
        member = Member(kafka, settings.kafka_generator_group_id, runs_topic, fleet=topic, instance=instance.id)
        ending.callback(_leave, member, instance)
        share = member.take_first()
        last = last_seq(kafka, topic, settings.num_entities)
    except KeyboardInterrupt:
        state_file.update("stopped")
        return 130
    except KafkaError as error:
        state_file.update("failed")
        if sentence := explained(kafka, error):
            logger.error("%s", sentence)
            return 1
        logger.error(
            "No readings can be sent to %s at %s: %s. Check that Kafka runs there (waited up to %d s).",
            topic, kafka.servers, error, WAIT_FOR_KAFKA,
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
    on_progress = partial(_on_progress, settings, state_file, run_log)
    end, problem = _send_parts(settings, member, Part(share, last, producer), stop, on_progress)

    failed = bool(end.failed or problem)
    state = "failed" if failed else "stopped" if stop.received else "finished"
    state_file.update(state, end)
    run_log.close(state, end)
    if end.injected:
        logger.info("injected faults: %s", end.injected)
    how = f"stopped by {stop.received.name}" if stop.received else "finished"
    logger.info("%s: %d sent, %d acknowledged, %d failed", how, end.sent, end.acknowledged, end.failed)
    if end.failed:
        cause = explained(settings.kafka, end.last_error) or end.last_error
        logger.error("%d records were not delivered. The last error: %s", end.failed, cause)
    elif problem:
        logger.error("%s", problem)
    return int(failed)


def _leave(member: Member, instance: Instance) -> None:
    if member.leave():
        instance.forget_id()


class Part(NamedTuple):
    """A part of a run: this generator sends the vehicles of one share, until the group is shared anew."""

    share: Share
    last: Mapping[int, int]  # the result of last_seq()
    producer: KafkaProducer


def _send_parts(
    settings: Settings, member: Member, part: Part | None, stop: Stop, on_progress: Callable[[Report], None]
) -> tuple[Report, str | None]:
    """The final report of all parts and processes, and what has ended the run too early."""
    begin, elapsed = time.monotonic(), 0.0
    report = Report()
    ended = Stop(also=lambda: stop.is_requested() or time.monotonic() - begin >= settings.script_duration)
    part_ended = Stop(also=lambda: stop.is_requested() or member.is_over())
    while part:
        if elapsed or part.share.of > 1:
            logger.info("sends the vehicles of share %d of %d", part.share.number + 1, part.share.of)
        history = "" if report.iteration else settings.history  # which goes on if its part has ended too early
        if history and part.share != WHOLE:
            return report, (
                f"{part.share.of} generators share the vehicles: one alone sends a history. Stop the others, or unset"
                " HISTORY (or history)."
            )
        rest = replace(settings, script_duration=max(0.0, settings.script_duration - elapsed), history=history)
        whole, part_begin = partial(report.followed_by, begin=elapsed), time.monotonic()

        def report_whole(latest: Report, whole: Callable[[Report], Report] = whole) -> None:
            on_progress(whole(latest))

        latest, died = _send(rest, part, part_ended, report_whole)
        report = whole(latest)
        if history:  # script_duration begins after it
            begin += time.monotonic() - part_begin - latest.elapsed
        if latest.problem:
            return report, latest.problem
        if member.is_over() and not ended.is_requested():
            logger.info("the vehicles are shared anew among the generators")
        member.give_back()
        if died:
            return report, f"{len(died)} of {settings.processes} processes died, see the warnings above"
        try:
            part = _next_part(settings, member, ended)
        except KafkaError as error:
            return report, explained(settings.kafka, error) or f"the vehicles can't be shared any more: {error}"
        elapsed = time.monotonic() - begin
    return report, None


def _next_part(settings: Settings, member: Member, ended: Stop) -> Part | None:
    """The next part of a run, None if the run has ended. Raises KafkaError when the group lets it take part no more."""
    while share := member.take(ended.is_requested):
        try:
            producer = connect(settings.kafka, settings.kafka_raw_topic, WAIT_AGAIN)
            return Part(share, last_seq(settings.kafka, settings.kafka_raw_topic, settings.num_entities), producer)
        except KafkaError as error:
            logger.warning("Kafka can't be reached for the next share of the vehicles, and is tried again: %s", error)
            member.give_back()
            ended.wait(1)
    return None


def _send(
    settings: Settings, part: Part, stop: Stop, on_progress: Callable[[Report], None]
) -> tuple[Report, list[int]]:
    """The final report of all processes, and which of them died."""
    if settings.processes == 1:
        return prepare(settings, part.share, part.last, part.producer, stop).send(on_progress), []
    part.producer.close()  # Kafka and the topic are there; each process connects for itself
    arguments = [(settings, share, part.last) for share in part.share.parts(settings.processes)]
    return run_processes(_worker, arguments, stop.is_requested, on_progress)


def _on_progress(settings: Settings, state_file: StateFile, run_log: RunLog, report: Report) -> None:
    state_file.update("sending", report)  # first: the log must not be ahead of it
    run_log.update(report)
    if history := report.history:
        logger.info(
            "history%s: %d sent, %d acknowledged, %d failed; %s",
            history.reached and f" up to {history.reached}",
            report.sent,
            report.acknowledged,
            report.failed,
            history,
        )
        return
    logger.info(
        "iteration %d: %d sent, %d acknowledged, %d failed, %.0f of %g s",
        report.iteration,
        report.sent,
        report.acknowledged,
        report.failed,
        report.elapsed,
        settings.script_duration,
    )


def _worker(connection: Connection, settings: Settings, share: Share, last: Mapping[int, int]) -> None:
    """Run one of several processes, which sends its reports through `connection`."""
    log.configure(SERVICE)
    end_with_the_main_process()
    stop = Stop()

    def on_progress(report: Report) -> None:
        try:
            connection.send(report)
        except BrokenPipeError:  # the main process was killed
            stop.request()

    kafka, topic = settings.kafka, settings.kafka_raw_topic
    try:
        producer = connect(kafka, topic, WAIT_FOR_KAFKA)
    except KafkaError as error:
        logger.warning("a process can't send to %s at %s: %s", topic, kafka.servers, error)
        sys.exit(1)
    stop.listen()
    unblock_signals()
    report = prepare(settings, share, last, producer, stop).send(on_progress)
    on_progress(report._replace(ended=True))
