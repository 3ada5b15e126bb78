"""Simulate a fleet of vehicles and publish their readings to Kafka: one JSON record per vehicle and iteration."""

import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from typing import NamedTuple

from kafka.errors import KafkaError

from kafka import KafkaProducer

from delivery import Deliveries
from faults import Faults, Shares
from fleet import Fleet
from last_seq import last_seq
from shards import Report, let_signals_in, run_shards

# Script configuration
num_entities = 200  # vehicles; each sends one reading per iteration; 1 or more
sensor_interval = 5  # seconds from one iteration to the next, by the clock (:00, :05, ...); 0 sends without a pause
script_duration = 60 * 15  # seconds the script runs

# Kafka configuration
kafka_bootstrap_servers = "kafka0:29092"
kafka_topic = "sensor-data-raw"

# Records that may wait for the broker's acknowledgement at a time. They are what a broker outage costs in memory.
max_in_flight = 50_000

# Processes that share the vehicles, each with its own producer: more than one where one core is the limit.
num_processes = 1

# Faults to send on purpose, each a share (0 to 1) of the readings. A reading gets at most one, so together they must be
# 1 or less. Once one is above 0, the lines "answer key" say how many of each were sent.
late_share = 0.0
out_of_order_share = 0.0
duplicate_share = 0.0
malformed_share = 0.0
late_by = 300  # seconds that a late reading is held back; more than the job's window and watermark durations together
out_of_order_by = 2  # seconds that an out-of-order one is held back; plus sensor_interval, less than the watermark
fault_seed = 0  # the same seed draws the same faults; a process adds its number, from 0

# How long to wait for the broker: at the start, and at the end for the last acknowledgements (seconds).
WAIT_FOR_KAFKA = 120
WAIT_FOR_ACKNOWLEDGEMENTS = 8

# Seconds between two lines "answer key"
ANSWER_KEY_EVERY = 10

_stop_signal: signal.Signals | None = None


def number(name: str, default: float, minimum: float, whole: bool = False, share: bool = False) -> float:
    """The constant `default`, or the environment variable `name` where it is set; ends the program if not allowed."""
    given = os.environ.get(name, default)
    try:
        value = int(given) if whole else float(given)
        if whole and value != float(given):
            raise ValueError
    except (ValueError, TypeError, OverflowError):
        value = math.nan
    if not minimum <= value < math.inf or (share and value > 1):
        kind = "a whole number" if whole else "a number of seconds"
        allowed = f"a share, {minimum} to 1" if share else f"{kind}, {minimum} or more"
        print(f"{name} (or {name.lower()}) is {given!r}: it must be {allowed}.", file=sys.stderr)
        sys.exit(2)
    return value


class Settings(NamedTuple):
    """The constants of a run, or what the environment says instead."""

    entities: int
    interval: float
    duration: float
    in_flight: int
    processes: int
    servers: str
    topic: str


def settings() -> Settings:
    entities = int(number("NUM_ENTITIES", num_entities, minimum=1, whole=True))
    return Settings(
        entities,
        interval=number("SENSOR_INTERVAL", sensor_interval, minimum=0),
        duration=number("SCRIPT_DURATION", script_duration, minimum=0),
        in_flight=int(number("MAX_IN_FLIGHT", max_in_flight, minimum=1, whole=True)),
        processes=min(entities, int(number("NUM_PROCESSES", num_processes, minimum=1, whole=True))),
        servers=os.environ.get("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap_servers),
        topic=os.environ.get("KAFKA_TOPIC", kafka_topic),
    )


def faults_to_send(duration: float, shard: int = 0) -> Faults | None:
    """The faults of a run of `duration` seconds, None where every share is 0; ends the program if one isn't allowed."""
    shares = Shares(
        late=number("LATE_SHARE", late_share, minimum=0, share=True),
        out_of_order=number("OUT_OF_ORDER_SHARE", out_of_order_share, minimum=0, share=True),
        duplicate=number("DUPLICATE_SHARE", duplicate_share, minimum=0, share=True),
        malformed=number("MALFORMED_SHARE", malformed_share, minimum=0, share=True),
    )
    late = number("LATE_BY", late_by, minimum=0)
    out_of_order = number("OUT_OF_ORDER_BY", out_of_order_by, minimum=0)
    seed = int(number("FAULT_SEED", fault_seed, minimum=0, whole=True))
    total = math.fsum(shares)
    if total > 1:
        names = ", ".join(f"{name.upper()}_SHARE" for name in shares._fields)
        print(f"{names} together are {total:g}: they must be 1 or less.", file=sys.stderr)
        sys.exit(2)
    return Faults(shares, late, out_of_order, duration, seed + shard) if total > 0 else None


def connect(servers: str, topic: str) -> KafkaProducer:
    """An idempotent producer for `topic`; raises KafkaError when there is no broker or no such topic in time."""
    producer = KafkaProducer(
        bootstrap_servers=servers,
        bootstrap_timeout_ms=WAIT_FOR_KAFKA * 1000,
        reconnect_backoff_max_ms=1000,
        allow_auto_create_topics=False,
        enable_idempotence=True,
        acks="all",
        compression_type="lz4",
        linger_ms=20,
        batch_size=128 * 1024,
    )
    if not producer.partitions_for(topic):
        raise KafkaError(f"there is no topic {topic}; kafka/create_topics.py creates it")
    return producer


def stop(signum: int, _frame: object) -> None:
    global _stop_signal
    _stop_signal = signal.Signals(signum)


def stopping() -> bool:
    return _stop_signal is not None


def wait(seconds: float) -> None:
    """Wait, but not on when a signal came."""
    end = time.monotonic() + seconds
    while not stopping() and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.2))


def until_next(moment: float, interval: float) -> float:
    """Seconds from `moment` (since the epoch) until an iteration begun then is followed by the next.

    That is at a whole multiple of the interval, as of a device that reads its sensors by the clock. So a reading comes
    just when a window of whole intervals can be closed. A hundredth before one counts as after it: a clock that is
    being adjusted may say that the multiple waited for is only just coming.
    """
    if not interval:
        return 0
    left = interval - moment % interval
    return left if left > interval / 100 else left + interval


def now() -> str:
    """The present moment as it is written in a record: ISO 8601, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def run(
    fleet: Fleet, deliveries: Deliveries, given: Settings, faults: Faults | None, tell: Callable[[Report], None]
) -> Report:
    """Send a reading of every vehicle, wait for the next one to be due, and again, for the duration or until a signal.

    `tell` gets a report each iteration, but no more than one a second. Returned is that at the end.
    """
    start = last_told = time.monotonic()
    iteration = 0
    while not stopping() and time.monotonic() - start < given.duration:
        due = until_next(time.time(), given.interval) + time.monotonic()
        if faults:
            send_with_faults(fleet, deliveries, faults, time.monotonic() - start)
        else:
            deliveries.send(fleet.records(now()))
        iteration += 1
        if given.interval >= 1 or time.monotonic() - last_told >= 1:
            last_told = time.monotonic()
            tell(report(iteration, last_told - start, deliveries, faults))
        wait(min(due, start + given.duration) - time.monotonic())
    if faults:
        # At the run's end everything held is due. Only a signal leaves some for flush().
        deliveries.send(faults.due(time.monotonic() - start))
        deliveries.send(faults.flush())
    deliveries.close(WAIT_FOR_ACKNOWLEDGEMENTS)
    return report(iteration, time.monotonic() - start, deliveries, faults)


def send_with_faults(fleet: Fleet, deliveries: Deliveries, faults: Faults, elapsed: float) -> None:
    """One iteration with faults, `elapsed` seconds after the start of the run."""
    deliveries.send(sent for record in fleet.records(now()) for sent in faults.send(record, elapsed))
    # After the new readings: before them, what was held for less than an interval would still be in order.
    deliveries.send(faults.due(elapsed))


def report(iteration: int, elapsed: float, deliveries: Deliveries, faults: Faults | None) -> Report:
    return Report(
        iteration,
        elapsed,
        deliveries.sent,
        deliveries.acknowledged,
        deliveries.failed,
        faults.answer_key() if faults else None,
        str(deliveries.last_error) if deliveries.last_error else None,
    )


class Progress:
    """Prints how far a run is."""

    def __init__(self, duration: float) -> None:
        self._duration = duration
        self._last_key = 0.0

    def __call__(self, report: Report) -> None:
        if report.answer_key and report.elapsed - self._last_key >= ANSWER_KEY_EVERY:
            self._last_key = report.elapsed
            print_answer_key(report)  # before the line below: the last line of the log says how far the run is
        print(
            f"iteration {report.iteration}: {report.sent} sent, {report.acknowledged} acknowledged,"
            f" {report.failed} failed, {report.elapsed:.0f} of {self._duration:g} s",
            flush=True,
        )


def print_answer_key(report: Report) -> None:
    print(f"answer key {json.dumps(report.answer_key)}", flush=True)


def run_shard(
    producer: KafkaProducer, given: Settings, last: Mapping[int, int], shard: int, tell: Callable[[Report], None]
) -> Report:
    """The run of one shard's vehicles, `last` being what last_seq() found; the report at its end."""
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    let_signals_in()
    fleet = Fleet(given.entities, last, shard=shard, shards=given.processes)
    faults = faults_to_send(given.duration, shard)
    if faults:
        faults.go_on(last)
    deliveries = Deliveries(producer, given.topic, max(1, given.in_flight // given.processes), stopping)
    return run(fleet, deliveries, given, faults, tell)


def shard_process(connection: Connection, given: Settings, last: Mapping[int, int], shard: int) -> None:
    """The process of one shard: its reports go through `connection`."""

    def tell(report: Report) -> None:
        try:
            connection.send(report)
        except BrokenPipeError:  # the main process was killed
            stop(signal.SIGTERM, None)

    try:
        producer = connect(given.servers, given.topic)
    except KafkaError as error:
        sys.exit(f"process {shard + 1} of {given.processes} can't reach {given.topic} at {given.servers}: {error}")
    tell(run_shard(producer, given, last, shard, tell)._replace(ended=True))


def main() -> None:
    given = settings()
    faults_to_send(given.duration)  # so that a wrong value ends it here
    entities, interval, duration, _, processes, servers, topic = given

    print(f"connecting to Kafka at {servers}, for up to {WAIT_FOR_KAFKA} s", flush=True)
    try:
        producer = connect(servers, topic)
        last = last_seq(servers, topic, entities)
    except KeyboardInterrupt:
        sys.exit(130)
    except KafkaError as error:
        sys.exit(
            f"No readings can be sent to {topic} at {servers}: {error}."
            f" Check that Kafka runs there (waited up to {WAIT_FOR_KAFKA} s)."
        )

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    shared = f", shared by {processes} processes" if processes > 1 else ""
    print(f"{entities} vehicles send to {topic} every {interval:g} s for {duration:g} s{shared}", flush=True)
    tell, died = Progress(duration), list[int]()
    if processes == 1:
        end = run_shard(producer, given, last, 0, tell)
    else:
        producer.close()  # it has shown that there is a broker with the topic
        end, died = run_shards(shard_process, [(given, last, shard) for shard in range(processes)], stopping, tell)
    if end.answer_key:
        print_answer_key(end)

    ended = f"stopped by {_stop_signal.name}" if _stop_signal else "finished"
    print(f"{ended}: {end.sent} sent, {end.acknowledged} acknowledged, {end.failed} failed", flush=True)
    if end.failed:
        sys.exit(f"{end.failed} records were not delivered, the last for this reason: {end.last_error}")
    if died:
        sys.exit(f"{len(died)} of {processes} processes died, see above")


if __name__ == "__main__":
    main()
