"""Create the pipeline's Kafka topics, before anyone writes to them. Run again, it changes nothing."""

import os
import sys
from typing import Any

from kafka.errors import KafkaError, TopicAlreadyExistsError

from kafka import KafkaAdminClient

# Kafka configuration
kafka_bootstrap_servers = "kafka0:29092"
num_partitions = 2  # of each data topic; more of them let more consumers read at the same time
replication_factor = 1  # copies of each partition; at most the number of brokers

# How long to wait for the broker to answer, in seconds.
WAIT_FOR_KAFKA = 120


def topics(partitions: int, replicas: int) -> dict[str, dict[str, Any]]:
    """The topics by name, as KafkaAdminClient.create_topics takes them."""
    data = {"num_partitions": partitions, "replication_factor": replicas}
    job = {"num_partitions": 1, "replication_factor": replicas}
    return {
        # A record's timestamp is the broker's, not its sender's: what a reading's own time is held against.
        "sensor-data-raw": data | {"configs": {"message.timestamp.type": "LogAppendTime"}},
        "sensor-data-aggregated": data,
        # A rejected record is written with its bytes in base64 and as text, so it is larger than Kafka's usual limit.
        "sensor-data-rejected": job | {"configs": {"max.message.bytes": str(4 * 1024 * 1024)}},
        # The windows job's own: its progress tokens (pyspark/sink.py), which are kept, and the markers that close the
        # last windows (pyspark/silence.py).
        "sensor-data-progress": job | {"configs": {"retention.ms": "-1"}},
        "sensor-data-control": job | {"configs": {"retention.ms": "-1"}},
    }


def create(servers: str, wanted: dict[str, dict[str, Any]]) -> None:
    """Create what is missing of `wanted`, say what is there, and return when every partition has a leader.

    Raises KafkaError when the broker can't be reached or refuses, SystemExit when a topic that is there
    has another number of partitions: a change would move vehicles to other partitions under the feet of its readers.
    """
    with KafkaAdminClient(
        bootstrap_servers=servers, bootstrap_timeout_ms=WAIT_FOR_KAFKA * 1000, reconnect_backoff_max_ms=1000
    ) as admin:
        for name, settings in wanted.items():
            try:
                admin.create_topics({name: settings})
                print(f"topic {name}: created with {settings['num_partitions']} partitions", flush=True)
            except TopicAlreadyExistsError:
                print(f"topic {name}: there already", flush=True)
        admin.wait_for_topics(list(wanted), timeout_ms=30_000)
        for topic in admin.describe_topics(list(wanted)):
            expected, found = wanted[topic["name"]]["num_partitions"], len(topic["partitions"])
            if found != expected:
                sys.exit(
                    f"Topic {topic['name']} has {found} partitions, not {expected}: set num_partitions in"
                    f" kafka/create_topics.py back to {found}, or remove all data (`make reset`,"
                    " `docker compose down --volumes`) and start again."
                )


def main() -> None:
    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap_servers)
    if num_partitions < 1 or replication_factor < 1:
        sys.exit("num_partitions and replication_factor in kafka/create_topics.py must be 1 or more.")
    print(f"connecting to Kafka at {servers}, for up to {WAIT_FOR_KAFKA} s", flush=True)
    try:
        create(servers, topics(num_partitions, replication_factor))
    except KafkaError as error:
        sys.exit(
            f"The topics could not be created: {error}. Check that Kafka runs and is reachable at {servers}"
            f" (waited up to {WAIT_FOR_KAFKA} s for it)."
        )


if __name__ == "__main__":
    main()
