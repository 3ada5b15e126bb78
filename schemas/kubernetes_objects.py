"""The objects in kubernetes/operators that are derived from the contract: topics for Strimzi, ingestion for Druid.

Pure, except that it reads the settings of that folder.
"""

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from kafka_client import KafkaClient
from kafka_client.properties import Properties, parse
from registration.render import render
from service.contract import Topic

CLUSTER = "sensor-data"  # the name of the Kafka cluster and of the Druid cluster
HEAD = "# Rendered from schemas/ by `make render`.\n"

Json = dict[str, Any]


def objects(folder: Path, topics: Mapping[str, Topic]) -> dict[str, str]:
    """The texts of the rendered files by name. `folder` has kustomization.yaml and client.properties."""
    kafka = client(folder)
    ingested = [topic for topic in topics.values() if topic.datasource]
    return {
        "topics.yaml": documents(map(kafka_topic, topics.values())),
        "ingestion.yaml": documents(druid_ingestion(topic, kafka) for topic in ingested),
    }


def client(folder: Path) -> KafkaClient:
    """How Druid's servers reach Kafka; without the secrets, which they have in environment variables."""
    [settings] = yaml.safe_load((folder / "kustomization.yaml").read_text())["configMapGenerator"]
    values = dict(literal.split("=", 1) for literal in settings["literals"])
    properties = parse((folder / "client.properties").read_text())
    return KafkaClient(values["KAFKA_BOOTSTRAP_SERVERS"], Properties("", properties, properties))


def kafka_topic(topic: Topic) -> Json:
    """The topic for Strimzi. The number of replicas is the brokers' default."""
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaTopic",
        "metadata": {"name": topic.default_name, "labels": {"strimzi.io/cluster": CLUSTER}},
        "spec": {"partitions": topic.partitions, "config": topic.needed},
    }


def druid_ingestion(topic: Topic, kafka: KafkaClient) -> Json:
    """The topic's supervisor for Druid's operator."""
    assert topic.datasource
    spec = copy.deepcopy(render(topic))
    spec["spec"]["ioConfig"]["consumerProperties"] |= kafka.druid_properties()
    return {
        "apiVersion": "druid.apache.org/v1alpha1",
        "kind": "DruidIngestion",
        "metadata": {"name": topic.datasource.name},
        "spec": {
            "suspend": False,
            "druidCluster": CLUSTER,
            "ingestion": {"type": spec["type"], "nativeSpec": spec},
        },
    }


def documents(found: Iterable[Json]) -> str:
    texts = [yaml.safe_dump(each, sort_keys=False, allow_unicode=True, width=118) for each in found]
    return HEAD + "---\n".join(texts)
