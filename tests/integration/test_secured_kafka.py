"""The scripts on a real Kafka with TLS, logins and ACLs: what each needs, and the sentence for what it lacks."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka.admin import ResourceType
from registration.supervisors import topic_ids
from secured_kafka import MODULES, Broker, plain, scram
from secured_services import GROUP, TOPIC, TOPICS, Rights, listed, script, sentence, settings, with_topics
from service import contract

pytestmark = pytest.mark.timeout(300)

GENERATOR_GROUP_ID = "sensor-data-generator"
# docs/operations.md, "Kafka ACLs"
GENERATOR: Rights = {
    (TOPIC, TOPICS["raw"]): "READ WRITE",
    (TOPIC, TOPICS["runs"]): "WRITE",
    (GROUP, GENERATOR_GROUP_ID): "READ",
}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with with_topics(tmp_path_factory.mktemp("secured-kafka")) as made:
        yield made


def send(broker: Broker, tmp_path: Path, properties: str, listener: str = "SASL", **settings: str) -> Any:
    """A run of the generator: one iteration of ten vehicles."""
    state = {"GENERATOR_STATE_FILE": str(tmp_path / "generator.json")}
    few = {"NUM_ENTITIES": "10", "SCRIPT_DURATION": "0.1", "SENSOR_INTERVAL": "1"}
    return script(broker, "sensor-data-generator/producer.py", properties, listener, **state, **few, **settings)


def test_existing_topics_need_no_right_to_create_them(broker: Broker) -> None:
    reader: Rights = {(TOPIC, name): "DESCRIBE DESCRIBE_CONFIGS" for name in TOPICS.values()}
    broker.add_user("reader", *listed(reader))
    done = script(broker, "kafka/create_topics.py", broker.kafka.properties("reader"))
    assert done.returncode == 0, done.stderr
    assert " WARNING " not in done.stderr
    broker.add_user("blind", *((TOPIC, name, "DESCRIBE") for name in TOPICS.values()))
    done = script(broker, "kafka/create_topics.py", broker.kafka.properties("blind"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Kafka does not show its settings") == len(TOPICS)


@pytest.mark.parametrize(
    ("listener", "changed"),
    [
        ("SASL", {}),
        ("SASL", {"sasl_mechanism": "SCRAM-SHA-256"}),
        ("SASL", {"sasl_mechanism": "PLAIN", "sasl_jaas_config": plain("plain", "plain-secret")}),
        ("TLS", {"security_protocol": "SSL", "ssl_keystore_type": "PEM", "ssl_keystore_location": "client.pem"}),
        (
            "SASL",
            {
                "sasl_mechanism": "OAUTHBEARER",
                "sasl_jaas_config": f"{MODULES}.oauthbearer.OAuthBearerLoginModule required;",
                "sasl_oauthbearer_token_endpoint_url": "token",
            },
        ),
    ],
)
def test_the_generator_sends_by_every_kind_of_login(
    broker: Broker, tmp_path: Path, listener: str, changed: dict[str, str]
) -> None:
    if "sasl_oauthbearer_token_endpoint_url" in changed:
        changed = {**changed, "sasl_oauthbearer_token_endpoint_url": broker.kafka.token("sender").as_uri()}
    broker.add_user("sender", *listed(GENERATOR))
    for name in ("plain", "certified"):
        broker.allow(name, *listed(GENERATOR))
    properties = broker.kafka.properties("sender", **changed)
    done = send(broker, tmp_path, properties, listener, NUM_PROCESSES="2")
    assert done.returncode == 0, done.stderr
    assert re.search(r"finished: ([1-9]\d*) sent, \1 acknowledged, 0 failed\n", done.stderr)
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("listener", "changed", "words"),
    [
        ("SASL", {"sasl_jaas_config": scram("nobody", "wrong")}, "sasl.jaas.config"),
        ("SASL", {"sasl_mechanism": "PLAIN", "sasl_jaas_config": plain("plain", "wrong")}, "sasl.jaas.config"),
        ("SASL", {"ssl_truststore_location": "other-ca.pem"}, "not issued by a CA in ssl.truststore.location"),
        ("EXPIRED", {"security_protocol": "SSL"}, "has expired: renew it on the broker"),
        ("TLS", {"security_protocol": "SSL"}, "refuses this client's certificate: check the one in ssl.keystore.loc"),
        (
            "TLS",
            {"security_protocol": "SSL", "ssl_keystore_type": "PEM", "ssl_keystore_location": "old-client.pem"},
            "refuses this client's certificate",
        ),
        (
            "TLS",
            {"security_protocol": "SSL", "ssl_keystore_type": "PEM", "ssl_keystore_location": "foreign-client.pem"},
            "refuses this client's certificate",
        ),
        ("SASL", {"security_protocol": "SSL"}, "security.protocol is not the one of this listener"),
        ("LOCAL", {}, "security.protocol is not the one of this listener"),
    ],
)
def test_a_client_that_kafka_does_not_let_in(
    broker: Broker, listener: str, changed: dict[str, str], words: str
) -> None:
    properties = broker.kafka.properties("nobody", **changed)
    said = sentence(script(broker, "kafka/create_topics.py", properties, listener))
    assert words in said
    if "renew" not in words:
        assert f"KAFKA_CLIENT_PROPERTIES ({properties})" in said


@pytest.mark.parametrize(
    "path", ["ledger/verify.py", "supervisor-specs/register.py", "sensor-data-generator/producer.py"]
)
def test_every_script_names_a_wrong_password(broker: Broker, tmp_path: Path, path: str) -> None:
    properties = broker.kafka.properties("nobody", sasl_jaas_config=scram("nobody", "wrong"))
    state = {"GENERATOR_STATE_FILE": str(tmp_path / "generator.json")}
    assert "sasl.jaas.config" in sentence(script(broker, path, properties, **state))


def test_the_doctor_names_a_wrong_password(broker: Broker, tmp_path: Path) -> None:
    properties = broker.kafka.properties("nobody", sasl_jaas_config=scram("nobody", "wrong"))
    state = {"WINDOWS_JOB_STATE_FILE": str(tmp_path / "job.json"), "DRUID_URL": "http://127.0.0.1:9"}
    done = script(broker, "doctor/doctor.py", properties, **state)
    assert done.returncode == 1
    assert "sasl.jaas.config" in done.stdout and "secret" not in done.stdout


def test_a_topic_that_may_not_be_created(broker: Broker) -> None:
    said = sentence(script(broker, "kafka/create_topics.py", broker.kafka.properties("nobody")))
    assert said.startswith(
        "Kafka does not show the topic sensor-data-raw to the user nobody and does not let it create"
    )


def test_more_copies_than_brokers(broker: Broker) -> None:
    names = {contract.setting(role): f"three-{name}" for role, name in TOPICS.items()}
    broker.add_user("three", *((TOPIC, name, "CREATE DESCRIBE") for name in names.values()))
    properties = broker.kafka.properties("three")
    said = sentence(script(broker, "kafka/create_topics.py", properties, REPLICATION_FACTOR="3", **names))
    assert said.startswith(
        "Kafka refuses the topic three-sensor-data-raw: REPLICATION_FACTOR (or replication_factor) is 3"
    )


def test_the_brokers_number_of_copies_and_more_partitions(broker: Broker) -> None:
    names = {contract.setting(role): f"own-{name}" for role, name in TOPICS.items()}
    rights = "CREATE DESCRIBE DESCRIBE_CONFIGS"
    broker.add_user("own", *((TOPIC, name, rights) for name in names.values()))
    more = {"REPLICATION_FACTOR": "-1", "PARTITIONS": "5"}
    done = script(broker, "kafka/create_topics.py", broker.kafka.properties("own"), **more, **names)
    assert done.returncode == 0, done.stderr
    with broker.admin() as admin:
        found = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics(list(names.values()))}
    assert {name for name, number in found.items() if number == 5} == {
        f"own-{TOPICS[r]}" for r in ("raw", "aggregated")
    }


@pytest.mark.parametrize("role", ["raw", "runs"])
def test_a_generator_without_the_right_to_write(broker: Broker, tmp_path: Path, role: str) -> None:
    name = f"no-{role}"
    broker.add_user(name, *listed(GENERATOR, without=(TOPIC, TOPICS[role])))
    said = sentence(send(broker, tmp_path, broker.kafka.properties(name)))
    assert said.startswith(f"Kafka does not let the user {name} use the topic {TOPICS[role]}: allow it")


def test_the_registration_only_describes_the_topics(broker: Broker) -> None:
    names = {TOPICS[role] for role in ("raw", "aggregated", "rejected", "late")}
    broker.add_user("registrar", *((TOPIC, name, "DESCRIBE") for name in names))
    assert topic_ids(settings(broker, "registrar").kafka, names).keys() == names


def test_a_generator_without_the_right_to_its_group_or_with_another_one(broker: Broker, tmp_path: Path) -> None:
    broker.add_user("alone", *listed(GENERATOR, without=(GROUP, GENERATOR_GROUP_ID)), (GROUP, "mine", "READ"))
    properties = broker.kafka.properties("alone")
    said = sentence(send(broker, tmp_path, properties))
    assert said.startswith("Kafka does not let the user alone use the consumer group: allow READ on it, or set ")
    assert "of the generator KAFKA_GENERATOR_GROUP_ID" in said
    assert send(broker, tmp_path, properties, KAFKA_GENERATOR_GROUP_ID="mine").returncode == 0


@pytest.mark.parametrize(
    ("right", "words"),
    [
        (
            (TOPIC, TOPICS["raw"], "READ"),
            "topic sensor-data-runs does not exist (kafka/create_topics.py creates it), or ",
        ),
        ((TOPIC, TOPICS["runs"], "DESCRIBE"), "Kafka does not let the user auditor-1 use the topic sensor-data-runs: "),
    ],
)
def test_a_ledger_without_the_right_to_read(broker: Broker, right: tuple[ResourceType, str, str], words: str) -> None:
    name = f"auditor-{int(right[2] == 'DESCRIBE')}"
    broker.add_user(name, right)
    assert words in sentence(script(broker, "ledger/verify.py", broker.kafka.properties(name)))
