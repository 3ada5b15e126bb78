"""Create the topics of schemas/topics.json before any service writes to them, and align those that exist.

A second run changes nothing.
"""

import logging
import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
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

# What a topic needs unless schemas/topics.json says otherwise: compaction would remove records that the ledger counts.
NEEDED = {"cleanup.policy": "delete"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """The constants above; see service.settings.checked()."""

    kafka_bootstrap_servers: str = text()
    replication_factor: int = whole_number(minimum=1)


class TopicMismatch(Exception):
    """The pipeline can't work with a topic that exists; the text says why and what to do."""


def new_topic(topic: Topic, replicas: int) -> dict[str, Any]:
    """A topic as KafkaAdminClient.create_topics takes it."""
    return {"num_partitions": topic.partitions, "replication_factor": replicas, "configs": dict(topic.config)}


def create(settings: Settings, wanted: Collection[Topic]) -> None:
    """Create the topics that don't exist, align the others, and return when every partition has a leader.

    Raises KafkaError when the broker doesn't answer or refuses, TopicMismatch when a topic exists that the pipeline
    can't work with.
    """
    with KafkaAdminClient(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        bootstrap_timeout_ms=KAFKA_TIMEOUT * 1000,
        reconnect_backoff_max_ms=1000,
    ) as admin:
        existing = {}
        for topic in wanted:
            try:
                admin.create_topics({topic.name: new_topic(topic, settings.replication_factor)})
                logger.info("topic %s: created with %d partitions", topic.name, topic.partitions)
            except TopicAlreadyExistsError:
                existing[topic.name] = topic
        admin.wait_for_topics([topic.name for topic in wanted], timeout_ms=30_000)
        if existing:
            for found in admin.describe_topics(list(existing)):
                check_partitions(existing[found["name"]], len(found["partitions"]))
            for topic in existing.values():
                align(admin, topic)


def check_partitions(topic: Topic, partitions: int) -> None:
    """Accept a topic with any number of partitions if its records have keys. Raises TopicMismatch."""
    if partitions == topic.partitions:
        logger.info("topic %s: exists", topic.name)
    elif topic.key:
        logger.info("topic %s: exists with %d partitions instead of %d", topic.name, partitions, topic.partitions)
    else:
        raise TopicMismatch(
            f"Topic {topic.name} has {partitions} partitions, but its records are one sequence and must be in"
            f" {topic.partitions}: the windows job would not find the newest one. If nothing has been written to the"
            " topic, delete it, and the next start creates it. Otherwise remove all data and start again (`make reset`"
            " or `docker compose down --volumes`)."
        )


def align(admin: KafkaAdminClient, topic: Topic) -> None:
    """Give a topic that exists the settings of the contract. Its other settings stay. Raises TopicMismatch."""
    [found] = admin.describe_configs([resource(topic)], config_filter="all")["topic"].values()
    wanted = {**NEEDED, **topic.config}
    present = {name: setting["value"] for name, setting in found.items()}
    different = {name: value for name, value in wanted.items() if present.get(name) != value}
    own = {
        name: setting["value"]
        for name, setting in found.items()
        if setting["config_source"] == "DYNAMIC_TOPIC_CONFIG" and name not in wanted
    }
    if own:
        logger.info("topic %s: keeps its own settings %s", topic.name, shown(own))
    if not different:
        return
    [result] = admin.alter_configs([resource(topic, different)])["topic"].values()
    if result != "OK":
        raise TopicMismatch(
            f"Topic {topic.name} needs the settings {shown(different)}, but Kafka refuses to set them: {result}. Set"
            " them with Kafka's kafka-configs.sh, and start again."
        )
    before = {name: present.get(name) for name in different}
    logger.warning("topic %s: had the settings %s, now has %s", topic.name, shown(before), shown(different))


def resource(topic: Topic, configs: Mapping[str, str] | None = None) -> ConfigResource:
    """A topic as KafkaAdminClient's methods for settings take it."""
    return ConfigResource(ConfigResourceType.TOPIC, topic.name, dict(configs) if configs else None)


def shown(configs: Mapping[str, Any]) -> str:
    """Settings as messages name them."""
    return ", ".join(f"{name}={value}" for name, value in configs.items())


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
    except TopicMismatch as error:
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
