"""Create the topics of schemas/topics.json before any service writes to them. A second run changes nothing."""

import logging
import os
import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError
from service import log
from service.contract import Topic, topics
from service.settings import BadSetting, checked, text, whole_number

# Address of the Kafka broker
kafka_bootstrap_servers = "kafka0:29092"

# Copies of each partition; at most the number of brokers
replication_factor = 1

# Seconds to wait until the broker answers
KAFKA_TIMEOUT = 120

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """The constants above; see service.settings.checked()."""

    kafka_bootstrap_servers: str = text()
    replication_factor: int = whole_number(minimum=1)


class PartitionMismatch(Exception):
    """A topic exists with another number of partitions."""


def new_topic(topic: Topic, replicas: int) -> dict[str, Any]:
    """A topic as KafkaAdminClient.create_topics takes it."""
    return {"num_partitions": topic.partitions, "replication_factor": replicas, "configs": dict(topic.config)}


def create(settings: Settings, wanted: Collection[Topic]) -> None:
    """Create the topics that don't exist, and return when every partition has a leader.

    Raises KafkaError when the broker doesn't answer or refuses, PartitionMismatch when a topic exists with another
    number of partitions: to add some would move vehicles to other partitions while consumers read them.
    """
    with KafkaAdminClient(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        bootstrap_timeout_ms=KAFKA_TIMEOUT * 1000,
        reconnect_backoff_max_ms=1000,
    ) as admin:
        for topic in wanted:
            try:
                admin.create_topics({topic.name: new_topic(topic, settings.replication_factor)})
                logger.info("topic %s: created with %d partitions", topic.name, topic.partitions)
            except TopicAlreadyExistsError:
                logger.info("topic %s: exists", topic.name)
        expected = {topic.name: topic.partitions for topic in wanted}
        admin.wait_for_topics(list(expected), timeout_ms=30_000)
        for found in admin.describe_topics(list(expected)):
            name, partitions = found["name"], len(found["partitions"])
            if partitions != expected[name]:
                raise PartitionMismatch(
                    f"Topic {name} has {partitions} partitions, but schemas/topics.json says {expected[name]}: set its"
                    f" partitions there to {partitions}, or remove all data and start again (`make reset` or"
                    " `docker compose down --volumes`)."
                )


def main() -> int:
    """The exit code: 0, 1 when the topics can't be created, 2 for a setting that is not allowed."""
    log.configure("topics")
    try:
        settings = checked(
            Settings(kafka_bootstrap_servers=kafka_bootstrap_servers, replication_factor=replication_factor), os.environ
        )
        wanted = topics(os.environ).values()
    except BadSetting as error:
        logger.error(error)
        return 2
    servers = settings.kafka_bootstrap_servers
    logger.info("connecting to Kafka at %s, for up to %d s", servers, KAFKA_TIMEOUT)
    try:
        create(settings, wanted)
    except PartitionMismatch as error:
        logger.error(error)
        return 1
    except KafkaError as error:
        logger.error(
            "The topics were not created: %s. Check that Kafka runs and is reachable at %s (it had %d s to answer).",
            error,
            servers,
            KAFKA_TIMEOUT,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
