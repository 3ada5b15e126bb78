"""How the services connect to Kafka: one file of Kafka's own client properties, for every client."""

from kafka_client.access import await_access, explained, no_topic
from kafka_client.client import KafkaClient, KafkaSettings, NoAccess
from kafka_client.properties import Properties

__all__ = ["KafkaClient", "KafkaSettings", "NoAccess", "Properties", "await_access", "explained", "no_topic"]
