"""The pipeline's services on a Kafka with TLS, logins and ACLs, as the tests run them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kafka.admin import ResourceType
from repository import ROOT, job_settings, run_script
from secured_kafka import Broker
from service import contract
from service.settings import checked
from windows_job.settings import Settings

TOPIC, GROUP, TRANSACTION = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID
TOPICS = {role: topic.name for role, topic in contract.topics().items()}
Rights = dict[tuple[ResourceType, str], str]

# docs/operations.md, "Kafka ACLs"
TOPICS_STEP: Rights = {(TOPIC, name): "CREATE DESCRIBE DESCRIBE_CONFIGS ALTER_CONFIGS" for name in TOPICS.values()}


def listed(rights: Rights, without: tuple[ResourceType, str] | None = None) -> list[tuple[ResourceType, str, str]]:
    return [(kind, name, operations) for (kind, name), operations in rights.items() if (kind, name) != without]


@contextmanager
def with_topics(folder: Path, *configuration: str) -> Iterator[Broker]:
    """A broker with the pipeline's topics, made by a user with the rights that this needs."""
    made = Broker(folder, *configuration)
    try:
        made.start()
        made.add_user("nobody")
        made.add_user("topics", *listed(TOPICS_STEP))
        assert script(made, "kafka/create_topics.py", made.kafka.properties("topics")).returncode == 0
        yield made
    finally:
        made.stop()


def script(broker: Broker, path: str, properties: str, listener: str = "SASL", **settings: str) -> Any:
    """A service's script as it ends."""
    given = {"KAFKA_BOOTSTRAP_SERVERS": broker.kafka.address(listener), "KAFKA_CLIENT_PROPERTIES": properties}
    return run_script([sys.executable, str(ROOT / path)], given | settings)


def sentence(done: Any, code: int = 1) -> str:
    """The one error that a script ends with."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if " ERROR " in line]
    assert len(errors) == 1, done.stderr
    assert "secret" not in done.stderr + done.stdout
    return str(errors[0].split(": ", 1)[1])


def settings(broker: Broker, user: str, **changed: str) -> Settings:
    """The windows job's settings for a user."""
    given = {
        "KAFKA_BOOTSTRAP_SERVERS": broker.kafka.address(),
        "KAFKA_CLIENT_PROPERTIES": broker.kafka.properties(user),
    }
    return checked(job_settings(), given | changed)
