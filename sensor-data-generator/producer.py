"""Simulate a fleet of vehicles and publish their readings to Kafka: one JSON record per vehicle and iteration."""

import json
import math
import os
import signal
import sys
import time
from datetime import UTC, datetime

from kafka.errors import KafkaError

from kafka import KafkaProducer

from delivery import Deliveries
from faults import Faults, Shares
from fleet import Fleet
from last_seq import last_seq

# Script configuration
num_entities = 200  # vehicles; each sends one reading per iteration; 1 or more
sensor_interval = 5  # seconds to wait after an iteration; 0 sends without a pause
script_duration = 60 * 15  # seconds the script runs

# Kafka configuration
kafka_bootstrap_servers = "kafka0:29092"
kafka_topic = "sensor-data-raw"

# Records that may wait for the broker's acknowledgement at a time. They are what a broker outage costs in memory.
max_in_flight = 50_000

# Faults to send on purpose, each a share (0 to 1) of the readings. A reading gets at most one, so together they must be
# 1 or less. Once one is above 0, the lines "answer key" say how many of each were sent.
late_share = 0.0
out_of_order_share = 0.0
duplicate_share = 0.0
malformed_share = 0.0
late_by = 300  # seconds that a late reading is held back; more than the job's window and watermark durations together
out_of_order_by = 2  # seconds that an out-of-order one is held back; plus sensor_interval, less than the watermark
fault_seed = 0  # the same seed draws the same faults

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


def faults_to_send(duration: float) -> Faults | None:
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
    return Faults(shares, late, out_of_order, duration, seed) if total > 0 else None


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


def now() -> str:
    """The present moment as it is written in a record: ISO 8601, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def run(fleet: Fleet, deliveries: Deliveries, interval: float, duration: float, faults: Faults | None = None) -> None:
    """Send a reading of every vehicle, wait `interval` seconds, and again, for `duration` seconds or until a signal."""
    start = last_line = last_key = time.monotonic()
    iteration = 0
    while not stopping() and time.monotonic() - start < duration:
        if faults:
            send_with_faults(fleet, deliveries, faults, time.monotonic() - start)
        else:
            deliveries.send(fleet.records(now()))
        iteration += 1
        # One line per iteration, but no more than one a second.
        if interval >= 1 or time.monotonic() - last_line >= 1:
            last_line = time.monotonic()
            if faults and last_line - last_key >= ANSWER_KEY_EVERY:
                last_key = last_line
                print_answer_key(faults)  # before the line below: the last line of the log says how far the run is
            print(
                f"iteration {iteration}: {deliveries.sent} sent, {deliveries.acknowledged} acknowledged,"
                f" {deliveries.failed} failed, {last_line - start:.0f} of {duration:g} s",
                flush=True,
            )
        wait(min(interval, start + duration - time.monotonic()))
    if faults:
        # At the run's end everything held is due. Only a signal leaves some for flush().
        deliveries.send(faults.due(time.monotonic() - start))
        deliveries.send(faults.flush())


def send_with_faults(fleet: Fleet, deliveries: Deliveries, faults: Faults, elapsed: float) -> None:
    """One iteration with faults, `elapsed` seconds after the start of the run."""
    deliveries.send(sent for record in fleet.records(now()) for sent in faults.send(record, elapsed))
    # After the new readings: before them, what was held for less than an interval would still be in order.
    deliveries.send(faults.due(elapsed))


def print_answer_key(faults: Faults) -> None:
    print(f"answer key {json.dumps(faults.answer_key())}", flush=True)


def main() -> None:
    entities = int(number("NUM_ENTITIES", num_entities, minimum=1, whole=True))
    interval = number("SENSOR_INTERVAL", sensor_interval, minimum=0)
    duration = number("SCRIPT_DURATION", script_duration, minimum=0)
    in_flight = int(number("MAX_IN_FLIGHT", max_in_flight, minimum=1, whole=True))
    faults = faults_to_send(duration)
    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap_servers)
    topic = os.environ.get("KAFKA_TOPIC", kafka_topic)

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

    fleet = Fleet(entities, last)
    if faults:
        faults.go_on(last)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"{entities} vehicles send to {topic} every {interval:g} s for {duration:g} s", flush=True)
    deliveries = Deliveries(producer, topic, in_flight, stopping)
    run(fleet, deliveries, interval, duration, faults)
    deliveries.close(WAIT_FOR_ACKNOWLEDGEMENTS)
    if faults:
        print_answer_key(faults)

    ended = f"stopped by {_stop_signal.name}" if _stop_signal else "finished"
    print(
        f"{ended}: {deliveries.sent} sent, {deliveries.acknowledged} acknowledged, {deliveries.failed} failed",
        flush=True,
    )
    if deliveries.failed:
        sys.exit(f"{deliveries.failed} records were not delivered, the last for this reason: {deliveries.last_error}")


if __name__ == "__main__":
    main()
