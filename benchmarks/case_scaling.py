"""Case scaling: what each part carries, and what more cores, brokers, tasks, copies, TLS and texts as entities change.

Two brokers are measured one after the other: a single one with a second listener for TLS, then a cluster of three.
Druid follows with the whole stack. Within each, the contenders run in turns.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import case_producer
import case_windows
import readings
import scaling_druid
from broker import ENV, PORTS, SERVERS, TOPICS, Layout, create_topic, running
from case_windows import Windows
from live_figures import Row
from live_stack import say
from local_stack import servers
from local_stack.paths import DATA
from secured import secured
from sizing import COPIES, DRUID, GENERATOR, GENERATOR_ON_CLUSTER, INTERVAL, JOB, JOB_ON_CLUSTER

# Each vehicle sends every five seconds, so a window of a minute has 12 readings, as in a real fleet.
VEHICLES = 20_000
SHAPE = readings.Shape(2_000_000, VEHICLES, rate=VEHICLES / INTERVAL)
TEXTS = SHAPE._replace(text=True)

# The brokers of each partition
FOUR_PARTITIONS: Layout = [[1]] * 4
ONE_BROKER: Layout = [[1], [1]]
TWO_BROKERS: Layout = [[1], [2]]
THREE_COPIES: Layout = [[1, 2, 3], [2, 3, 1]]

Contenders = dict[str, Callable[[], Row]]
Rounds = Callable[[str, Contenders], list[Row]]


def scaling(rounds: Rounds) -> list[Row]:
    """A row for each contender; `rounds` runs contenders in turns and summarizes each."""
    say(f"scaling: the windows of {SHAPE.rows:,} readings")
    windows = expected_windows()
    rows = [*single_broker(rounds, windows), *three_brokers(rounds, windows)]
    with scaling_druid.stack_with(SHAPE) as stack:
        return [*rows, *measured(rounds, DRUID, scaling_druid.contenders(stack, SHAPE.rows))]


def expected_windows() -> Windows:
    windows: dict[readings.Window, readings.Sums] = {}
    for _ in readings.counted(SHAPE, windows):
        pass
    return readings.closed(SHAPE, windows)


def single_broker(rounds: Rounds, windows: Windows) -> list[Row]:
    service, tls = secured(servers.kafka(ENV | PORTS, TOPICS["raw"].name))
    of_texts = {(start, f"truck-{entity}"): values for (start, entity), values in windows.items()}
    with running(service) as pids:
        numbers, texts = send("numbers", SHAPE, ONE_BROKER), send("texts", TEXTS, ONE_BROKER)
        four = send("four-partitions", SHAPE, FOUR_PARTITIONS)
        job, generator = partial(windows_job, pids), partial(send_without_pause, pids)
        return [
            *measured(rounds, JOB, {
                "one broker without TLS, local[2], 2 partitions, numbers": partial(job, numbers, windows),
                "local[1]": partial(job, numbers, windows, SPARK_MASTER="local[1]"),
                "4 partitions": partial(job, four, windows),
                "SASL_SSL": partial(job, numbers, windows, **tls),
                "texts": partial(job, texts, of_texts),
            }),
            *measured(rounds, GENERATOR, {
                "one broker without TLS, 2 partitions": partial(generator, ONE_BROKER),
                "4 partitions": partial(generator, FOUR_PARTITIONS),
                "SASL_SSL": partial(generator, ONE_BROKER, **tls),
            }),
        ]  # fmt: skip


def three_brokers(rounds: Rounds, windows: Windows) -> list[Row]:
    # With three copies, two are in sync before an acknowledgement: min.insync.replicas in kafka/cluster.properties.
    with running(*servers.brokers(ENV | PORTS, TOPICS["raw"].name)) as pids:
        once, thrice = send("once", SHAPE, ONE_BROKER), send("three-times", SHAPE, THREE_COPIES)
        job, generator = partial(windows_job, pids), partial(send_without_pause, pids)
        return [
            *measured(rounds, JOB_ON_CLUSTER, {
                "three brokers, one copy on one of them": partial(job, once, windows, layout=ONE_BROKER),
                COPIES: partial(job, thrice, windows, layout=THREE_COPIES),
            }),
            *measured(rounds, GENERATOR_ON_CLUSTER, {
                "three brokers, one copy on one of them": partial(generator, ONE_BROKER),
                "one copy on two of them": partial(generator, TWO_BROKERS),
                COPIES: partial(generator, THREE_COPIES),
            }),
        ]  # fmt: skip


def measured(rounds: Rounds, part: str, contenders: Contenders) -> list[Row]:
    return [{"part": part, **row} for row in rounds(f"scaling, {part}", contenders)]


def send(name: str, shape: readings.Shape, layout: Layout) -> str:
    """Create a topic with the readings; returns its name."""
    say(f"scaling: {shape.rows:,} readings to {name}")
    topic = create_topic(name, "raw", layout=layout)
    readings.deliver(SERVERS, topic, (record for _, record in readings.records(shape)))
    return topic


def windows_job(brokers: list[int], topic: str, windows: Windows, **how: Any) -> Row:
    """Let the job make the windows of a topic."""
    drained = case_windows.ours(topic, windows, others=brokers, **how)
    return {
        "records/s": SHAPE.rows / drained.seconds,
        "CPU s/M": drained.cpu / SHAPE.rows * 1e6,
        "brokers' CPU s/M": drained.others_cpu / SHAPE.rows * 1e6,
        "memory MiB": drained.peak,
        "driver's CPU s per million windows": drained.own_cpu / len(windows) * 1e6,
        "bytes per reading": stored(topic) / SHAPE.rows,
    }


def send_without_pause(brokers: list[int], layout: Layout, **settings: str) -> Row:
    """Let the generator send for some seconds."""
    sent = case_producer.script(case_producer.OURS, layout, brokers, **settings)
    return {
        "records/s": sent.records / sent.seconds,
        "CPU s/M": sent.cpu / sent.records * 1e6,
        "brokers' CPU s/M": sent.others_cpu / sent.records * 1e6,
    }


def stored(topic: str) -> int:
    """The bytes of a topic in the logs of all brokers."""
    return sum(file.stat().st_size for file in DATA.glob(f"kafka*/{topic}-[0-9]/*.log"))
