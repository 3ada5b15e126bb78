"""How each service is: asked for, never guessed. The rows in services.py say which check is whose."""

import socket
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import requests
from service import state

from local_stack import manager
from local_stack.druid import TIMEOUT, Druid, get
from local_stack.errors import Unhealthy
from local_stack.kafka import Kafka
from local_stack.logs import last_message
from local_stack.pipeline import Pipeline
from local_stack.service import Check, Process, Service

STATE_AGE_LIMIT = 30  # seconds; the windows job writes its state file every second


def health(service: Service, process: Process) -> str:
    """A few words on how a service is; raises Unhealthy when it isn't healthy."""
    check_process(process)
    return service.check(process)


def check_process(process: Process) -> None:
    """Raises Unhealthy unless the process runs or has finished its work."""
    if process.failed:
        raise Unhealthy(f"{process.state.lower()} ({last_message(process.name)})")
    if process.state != "RUNNING" and not process.finished:
        raise Unhealthy(process.state.lower())
    if process.runs and (seconds := manager.waits(process.name)):
        raise Unhealthy(f"keeps ending, is started again in {seconds:.0f} s ({last_message(process.name)})")


def port_answers(port: int) -> Check:
    def check(_: Process) -> str:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT):
                return "answers"
        except OSError as error:
            raise Unhealthy(f"no answer ({error.strerror or error})") from error

    return check


def url_answers(url: str) -> Check:
    def check(_: Process) -> str:
        get(url)
        return "ready"

    return check


def page_answers(url: str) -> Check:
    def check(_: Process) -> str:
        try:
            with requests.Session() as session:
                session.trust_env = False  # a proxy for the internet can't reach this machine
                session.get(url, timeout=TIMEOUT).raise_for_status()
        except requests.RequestException as error:
            raise Unhealthy(f"no answer ({type(error).__name__})") from error
        return "ready"

    return check


def broker_answers(kafka: Kafka, topic: str) -> Check:
    return lambda _: f"{kafka.records(topic)} records in {topic}"


def when_finished(check: Callable[[], str]) -> Check:
    """For a one-shot: it must have ended before its work is checked."""

    def check_finished(process: Process) -> str:
        if process.runs:
            raise Unhealthy("still at work")
        return check()

    return check_finished


def topics_exist(kafka: Kafka, topics: Collection[str]) -> str:
    if missing := set(topics) - kafka.topics():
        raise Unhealthy(f"no topic {', '.join(sorted(missing))}")
    return f"{len(topics)} topics"


def supervisors_run(druid: Druid, datasources: Collection[str]) -> str:
    """All supervisors run; with their lag in offsets."""
    lags = []
    for name in datasources:
        status = druid.supervisor(name)
        if status["detailedState"] != "RUNNING":
            raise Unhealthy(f"supervisor {name} is {status['detailedState']}")
        lag = status.get("aggregateLag")
        lags.append(f"{name} RUNNING, lag {'not known yet' if lag is None else lag}")
    return "; ".join(lags)


def windows_job_reports(pipeline: Pipeline) -> Check:
    def check(process: Process) -> str:
        job = own_state(pipeline.job_state_file, process)
        age = time.time() - datetime.fromisoformat(job["written_at"]).timestamp()
        if age > STATE_AGE_LIMIT:
            raise Unhealthy(f"no report for {age:.0f} s")
        lag = pipeline.job_lag(job)
        if "batch" not in job:
            return f"at its first batch, lag {lag}" if lag else "waiting for readings"
        late = (job.get("totals") or {}).get("late", 0)
        return f"batch {job['batch']}, lag {lag}, watermark {job['watermark']}, {late} late"

    return check


def generator_sends(state_file: Path) -> Check:
    def check(process: Process) -> str:
        generator = own_state(state_file, process)
        if generator["state"] == "connecting":
            raise Unhealthy("connecting to Kafka")
        return describe_run(generator)

    return check


def describe_run(generator: Mapping[str, Any]) -> str:
    """The generator's state file in words."""
    run = generator["run"]
    counts = f"{run['sent']} sent, {run['acknowledged']} acknowledged, {run['failed']} failed"
    if generator["state"] != "sending":
        return f"{generator['state']}: {counts}"
    if history := run.get("history"):
        return f"history up to {history['reached'] or 'its begin'}: {counts}"
    return f"iteration {run['iteration']}: {counts}, {run['elapsed_seconds']:.0f} of {run['duration_seconds']:g} s"


def own_state(state_file: Path, process: Process) -> dict[str, Any]:
    """What a process has written; raises Unhealthy while the file is that of the process before it."""
    try:
        written = state.read(state_file)
    except (OSError, ValueError) as error:
        raise Unhealthy("has just been started") from error
    if process.pid and written.get("pid") != process.pid:
        raise Unhealthy("has just been started")
    return written
