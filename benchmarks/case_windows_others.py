"""Case windows, by others: the same topic into the same windows by Kafka Streams and by Flink SQL.

Each runs in one JVM with two threads of work, and is tuned as an expert would; the settings are in its .java file.
"""

import itertools
import operator
import os
from functools import partial
from pathlib import Path

from broker import SERVERS, create_topic, delete_topics, partitions_of, records_in
from case_windows import READY, RUN, Drained, Windows, alike, check, drain
from install import digest, install_jars, once
from kafka import KafkaAdminClient, KafkaConsumer
from kafka.errors import RetriableError
from local_stack.env_file import image_version
from local_stack.java import java
from local_stack.paths import JARS, ROOT

HERE = ROOT / "benchmarks"
HEAP = "768m"  # as ours
# With many vehicles Kafka Streams, which holds each open window twice, would spend 40 % of the time on garbage
# collection.
LARGE_FLEET = 50_000  # vehicles
LARGE_HEAP = "1536m"
_number = itertools.count(1)


def kafka_streams(topic: str, expected: Windows) -> Drained:
    """Exactly once; all its windows must equal ours.

    Its stream time belongs to one partition, while our watermark follows the newest reading of all. The windows closed
    at the end are the same nevertheless: the last readings of all vehicles have the same time, in every partition.
    """
    jars = install("Kafka Streams", "kafka-streams", f"-Dkafka.version={image_version('KAFKA_IMAGE', os.environ)}")
    application = f"streams-{next(_number)}"  # a prefix of the topics that it creates
    output = create_topic(f"{application}-windows", "aggregated")
    readings = records_in(topic)
    admin = KafkaAdminClient(bootstrap_servers=SERVERS)

    def done() -> int:
        # The output's offsets count the markers of transactions, too. A transaction commits the offsets of readings
        # together with the windows that they close: with all readings, all windows are committed.
        try:
            return sum(committed.offset for committed in admin.list_group_offsets(application)[application].values())
        except RetriableError:  # the first group of the broker, which is still creating the topic of offsets
            return 0

    try:
        heap = LARGE_HEAP if len({vehicle for _, vehicle in expected}) > LARGE_FLEET else HEAP
        arguments = (SERVERS, topic, output, application, str(RUN / "state"), str(READY))
        drained = drain(command(heap, jars, "KafkaStreamsWindows.java", *arguments), {}, done, readings)
        check(output, expected, operator.eq)
        return drained
    finally:
        delete_topics(*(name for name in admin.list_topics() if name.startswith(f"{application}-")))
        admin.close()


def flink(topic: str, expected: Windows) -> Drained:
    """At least once; its windows may differ from ours as those of the original do, see alike()."""
    jars = install("Flink", "flink")
    output = create_topic(f"flink-{next(_number)}", "aggregated")
    consumer, partitions = KafkaConsumer(bootstrap_servers=SERVERS), partitions_of(output)
    try:
        arguments = (SERVERS, topic, output, (RUN / "checkpoints").as_uri(), str(READY))
        program = command(HEAP, jars, "FlinkWindows.java", *arguments)
        drained = drain(program, {}, lambda: sum(consumer.end_offsets(partitions).values()), len(expected))
        check(output, expected, alike)
        return drained
    finally:
        consumer.close()
        delete_topics(output)


def command(heap: str, jars: Path, program: str, *arguments: str) -> list[str]:
    """By Java's source launcher, which compiles the program in memory and then runs it; the clock starts after that."""
    return [java(), f"-Xmx{heap}", "-XX:+UseParallelGC", "-cp", f"{jars}/*", str(HERE / program), *arguments]


def install(what: str, name: str, *properties: str) -> Path:
    """Install the jars of `name`.pom.xml by Maven, once; returns their folder."""
    pom, target = HERE / f"{name}.pom.xml", JARS / name
    stamp = JARS / f"{name}.installed"
    once(what, stamp, digest(pom, *properties), partial(install_jars, what, pom, target, *properties))
    return target
