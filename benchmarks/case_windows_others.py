"""Case windows, by others: the same topic into the same windows by Kafka Streams and by Flink SQL.

Both in one JVM with two threads of work, and tuned as somebody who knows them would: their files say how.
"""

import itertools
import operator
from functools import partial
from pathlib import Path

from kafka.errors import RetriableError

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from broker import ROOT, SERVERS, create_topic, delete_topics
from case_windows import RUN, Drained, Windows, alike, check, drain
from install import digest, install_jars, once
from services import java
from settings import JARS, image_version

HERE = ROOT / "benchmarks"
HEAP = "768m"  # as ours
# With many vehicles Kafka Streams, which holds an open window twice, would spend 40 % of the time on garbage.
LARGE_FLEET = 50_000  # vehicles
LARGE_HEAP = "1536m"
_number = itertools.count(1)


def kafka_streams(topic: str, expected: Windows) -> Drained:
    """Exactly once; all its windows must be as ours.

    Its stream time is a partition's own, where our watermark is the newest time of all. The windows closed at the end
    are the same nevertheless: the last readings of all vehicles have one time, so every partition gets that far.
    """
    kafka = f"-Dkafka.version={image_version('KAFKA_IMAGE')}"
    jars = install("Kafka Streams", "kafka-streams", kafka)
    application = f"streams-{next(_number)}"  # its own topics begin with that as well
    output = create_topic(f"{application}-windows")
    partitions = [TopicPartition(topic, number) for number in range(2)]
    consumer = KafkaConsumer(bootstrap_servers=SERVERS)
    readings = sum(consumer.end_offsets(partitions).values())
    consumer.close()
    admin = KafkaAdminClient(bootstrap_servers=SERVERS)

    def done() -> int:
        # The output's offsets count the ends of transactions too. The offsets of the readings are in the transactions
        # of the windows: once all readings are committed, so are all windows that they close.
        try:
            return sum(committed.offset for committed in admin.list_group_offsets(application)[application].values())
        except RetriableError:  # the broker's very first group: its topic of offsets is being made
            return 0

    try:
        heap = LARGE_HEAP if len({vehicle for _, vehicle in expected}) > LARGE_FLEET else HEAP
        arguments = (SERVERS, topic, output, application, str(RUN / "state"))
        drained = drain(command(heap, jars, "KafkaStreamsWindows.java", *arguments), {}, done, readings)
        check(output, expected, operator.eq)
        return drained
    finally:
        delete_topics(*(name for name in admin.list_topics() if name.startswith(f"{application}-")))
        admin.close()


def flink(topic: str, expected: Windows) -> Drained:
    """At least once; its windows may differ from ours as the original's do."""
    jars = install("Flink", "flink")
    output = create_topic(f"flink-{next(_number)}")
    partitions = [TopicPartition(output, number) for number in range(2)]
    consumer = KafkaConsumer(bootstrap_servers=SERVERS)
    try:
        program = command(HEAP, jars, "FlinkWindows.java", SERVERS, topic, output, (RUN / "checkpoints").as_uri())
        drained = drain(program, {}, lambda: sum(consumer.end_offsets(partitions).values()), len(expected))
        check(output, expected, alike)
        return drained
    finally:
        consumer.close()
        delete_topics(output)


def command(heap: str, jars: Path, program: str, *arguments: str) -> list[str]:
    """Java's source launcher: it compiles the program in memory and then runs it; the clock starts after that."""
    return [java(), f"-Xmx{heap}", "-XX:+UseParallelGC", "-cp", f"{jars}/*", str(HERE / program), *arguments]


def install(what: str, name: str, *properties: str) -> Path:
    """The jars of `name`.pom.xml by Maven, once; returns their folder."""
    pom, target = HERE / f"{name}.pom.xml", JARS / name
    stamp = JARS / f"{name}.installed"
    once(what, stamp, digest(pom, *properties), partial(install_jars, what, pom, target, *properties))
    return target
