"""Create the topics of schemas/topics.json before any service writes to them, and align those that exist.

A second run changes nothing.
"""

import logging
import os
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import (
    AuthorizationError,
    InvalidConfigurationError,
    InvalidReplicationFactorError,
    InvalidRequestError,
    KafkaError,
    PolicyViolationError,
    TopicAlreadyExistsError,
)
from kafka_client import KafkaSettings, await_access, explained
from service import log
from service.contract import Topic, topics
from service.settings import BadSetting, checked, from_constants, replicas, whole_number

# Address of the Kafka broker
kafka_bootstrap_servers = "kafka0:29092"

# A file with Kafka's own client properties, such as security.protocol; empty: none
kafka_client_properties = ""

# Partitions of a new topic whose records are keyed by vehicle; 0: the number in schemas/topics.json
partitions = 0

# Copies of each partition of a new topic; at most the number of brokers. -1: the broker's default.replication.factor
replication_factor = 1

# Seconds to wait until the broker answers
KAFKA_TIMEOUT = 120

# Seconds to wait until there are as many brokers as copies: those of a cluster start at the same time
WAIT_FOR_BROKERS = 20

# Settings that make a topic faster. The pipeline works without them, and not every Kafka allows them.
DISPENSABLE = {"flush.messages"}

# What Kafka answers if it doesn't allow a setting of a topic
REFUSED = (InvalidConfigurationError, PolicyViolationError, InvalidRequestError)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Settings(KafkaSettings):
    """The constants above; see service.settings.checked()."""

    partitions: int = whole_number(minimum=0)
    replication_factor: int = replicas()


class TopicMismatch(Exception):
    """The pipeline can't work with a topic that exists; the text says why and what to do."""


def new_topic(topic: Topic, settings: Settings, without: Collection[str] = ()) -> dict[str, Any]:
    """A topic as KafkaAdminClient.create_topics takes it, `without` some of its settings."""
    return {
        "num_partitions": (topic.key == "entity" and settings.partitions) or topic.partitions,
        "replication_factor": settings.replication_factor,
        "configs": {name: value for name, value in topic.config.items() if name not in without},
    }


def create(settings: Settings, wanted: Collection[Topic]) -> None:
    """Create the topics that don't exist, align the others, and return when every partition has a leader.

    Raises KafkaError when the broker doesn't answer, TopicMismatch when it refuses a topic, or a topic exists that the
    pipeline can't work with.
    """
    await_access(settings.kafka, KAFKA_TIMEOUT)
    with KafkaAdminClient(
        **settings.kafka.options(),
        bootstrap_timeout_ms=KAFKA_TIMEOUT * 1000,
        reconnect_backoff_max_ms=1000,
    ) as admin:
        there = set(admin.list_topics())  # the right to create topics is needed for the others only
        existing = {topic.name: topic for topic in wanted if topic.name in there}
        deadline = time.monotonic() + WAIT_FOR_BROKERS
        for topic in wanted:
            if topic.name not in there and not create_topic(admin, topic, settings, deadline):
                existing[topic.name] = topic
        admin.wait_for_topics([topic.name for topic in wanted], timeout_ms=30_000)
        if existing:
            for found in admin.describe_topics(list(existing)):
                check_partitions(existing[found["name"]], len(found["partitions"]))
            for topic in existing.values():
                align(admin, topic)


def create_topic(admin: KafkaAdminClient, topic: Topic, settings: Settings, deadline: float) -> bool:
    """Create a topic; False if it exists by now, or was created without a setting. Raises TopicMismatch, KafkaError.

    Until the `deadline`, by the monotonic clock, it waits for enough brokers.
    """
    new = new_topic(topic, settings)
    complete = True
    try:
        try:
            admin.create_topics({topic.name: new})
        except REFUSED:
            if not DISPENSABLE & topic.config.keys():
                raise
            new, complete = new_topic(topic, settings, DISPENSABLE), False
            admin.create_topics({topic.name: new})
    except TopicAlreadyExistsError:
        return False
    except InvalidReplicationFactorError as error:
        if time.monotonic() < deadline:
            time.sleep(1)
            return create_topic(admin, topic, settings, deadline)
        raise TopicMismatch(
            f"Kafka refuses the topic {topic.name}: REPLICATION_FACTOR (or replication_factor) is"
            f" {settings.replication_factor}, and there are fewer brokers ({said(error)}). Lower it, or start more"
            " brokers."
        ) from error
    except AuthorizationError as error:
        raise TopicMismatch(
            f"Kafka does not show the topic {topic.name} to {settings.kafka.user} and does not let it create the topic:"
            f" allow DESCRIBE on it if it exists, or create it with {new['num_partitions']} partitions and the settings"
            f" {shown(topic.needed)}, or allow CREATE; docs/operations.md lists the rights."
        ) from error
    except REFUSED as error:
        raise TopicMismatch(
            f"Kafka refuses the topic {topic.name} with the settings {shown(topic.needed)} and a REPLICATION_FACTOR (or"
            f" replication_factor) of {settings.replication_factor}: {said(error)}. Create the topic with Kafka's"
            " kafka-topics.sh, and start again."
        ) from error
    logger.info("topic %s: created with %d partitions", topic.name, new["num_partitions"])
    return complete


def said(error: KafkaError) -> str:
    """What the broker says in an error."""
    return str(error.args[0] if error.args else error).rstrip(".")


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
    if not found:
        logger.warning(
            "topic %s: Kafka does not show its settings. The pipeline needs %s: compare them, or allow"
            " DESCRIBE_CONFIGS on the topic.", topic.name, shown(topic.needed),
        )  # fmt: skip
        return
    present = {name: setting["value"] for name, setting in found.items()}
    different = topic.different(present)
    own = {
        name: setting["value"]
        for name, setting in found.items()
        if setting["config_source"] == "DYNAMIC_TOPIC_CONFIG" and name not in topic.needed
    }
    if own:
        logger.info("topic %s: keeps its own settings %s", topic.name, shown(own))
    if not different:
        return
    [result] = admin.alter_configs([resource(topic, different)])["topic"].values()
    if result != "OK" and different.keys() <= DISPENSABLE:
        logger.warning("topic %s: goes on without the settings %s: %s", topic.name, shown(different), result)
        return
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
        settings = checked(from_constants(Settings, globals()), os.environ)
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
        if sentence := explained(settings.kafka, error):
            logger.error(sentence)
            return 1
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
