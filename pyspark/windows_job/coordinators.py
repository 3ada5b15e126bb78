"""Whether Kafka coordinates the job's offsets and transactions: for both, it needs a topic of its own.

Kafka creates these topics when they are first used. Where it can't, kafka-python's producer tries again for ever
and says nothing.
"""

import time

from kafka import KafkaAdminClient
from kafka.errors import CoordinatorNotAvailableError
from kafka_client import KafkaClient, NoAccess

PAUSE = 0.1  # seconds between two questions: Kafka creates the topic within a second


def await_group(kafka: KafkaClient, group: str, timeout: float) -> None:
    """Return when the consumer group has a coordinator; the group itself need not exist.

    Raises NoAccess after `timeout` seconds, and KafkaError.
    """
    deadline = time.monotonic() + timeout
    with KafkaAdminClient(**kafka.options()) as admin:
        while True:
            try:
                admin.describe_groups([group])
                return
            except CoordinatorNotAvailableError:
                if time.monotonic() > deadline:
                    raise no_coordinator(kafka, f"the offsets of the group {group}", "__consumer_offsets") from None
            time.sleep(PAUSE)


def no_coordinator(kafka: KafkaClient, what: str, topic: str) -> NoAccess:
    """What to say when Kafka can't create a topic of its own, or has lost it. Raises KafkaError."""
    with KafkaAdminClient(**kafka.options()) as admin:
        brokers = [broker for broker in admin.describe_cluster()["brokers"] if not broker.get("is_fenced")]
    return NoAccess(
        f"Kafka at {kafka.servers} does not coordinate {what}: it can't use its topic {topic}. Its settings"
        " offsets.topic.replication.factor and transaction.state.log.replication.factor must not be higher than the"
        f" number of its brokers, which is {len(brokers)}: start more brokers, or lower these settings."
    )
