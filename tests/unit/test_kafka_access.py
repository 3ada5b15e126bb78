"""What is said when Kafka does not let a client in, and how long a client waits for it."""

from typing import Any

import pytest
from kafka_client import KafkaClient, NoAccess, Properties, access, await_access, explained

SCRAM = {
    "security.protocol": "SASL_SSL",
    "sasl.mechanism": "SCRAM-SHA-512",
    "sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required"
    ' username="job" password="hidden";',
}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            "[Error 58] SaslAuthenticationFailedError: invalid credentials",
            "refuses the login of the user job: check the",
        ),
        ("SaslAuthenticationException: Authentication failed", "sasl.jaas.config of KAFKA_CLIENT_PROPERTIES (/c.prop"),
        ("CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired (_ssl.c:1)", "has expired"),
        ("CERTIFICATE_VERIFY_FAILED] unable to get local issuer certificate", "a CA in ssl.truststore.location of"),
        ("CERTIFICATE_VERIFY_FAILED] Hostname mismatch, certificate is not valid for 'x'", "is for other names"),
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED]", "refuses this client's certificate"),
        ("[SSL: WRONG_VERSION_NUMBER]", "does not answer with TLS: correct security.protocol"),
        ("[Error 29] TopicAuthorizationFailedError: {'raw-1'}", "let the user job use the topic raw-1:"),
        ("TopicAuthorizationFailedError: raw-1", "let the user job use the topic raw-1:"),
        ("errors.TopicAuthorizationException: Not authorized to access topics: [raw-1]", "use the topic raw-1:"),
        (
            "[Error 30] GroupAuthorizationFailedError: g",
            "use the consumer group: allow READ on it, or set KAFKA_GROUP_ID",
        ),
        (
            "TransactionalIdAuthorizationFailedError",
            "use this transactional id: allow WRITE and DESCRIBE on it, or set",
        ),
    ],
)
def test_the_cause_and_the_remedy_of_an_error(error: str, words: str) -> None:
    kafka = KafkaClient("kafka:1", Properties("/c.properties", SCRAM, SCRAM))
    sentence = explained(kafka, error)
    assert sentence and words in sentence
    assert sentence.endswith(".") and "{" not in sentence and "hidden" not in sentence


def test_other_errors_are_left_to_the_program() -> None:
    assert explained(KafkaClient("kafka:1"), "KafkaTimeoutError: Unable to bootstrap from kafka:1") is None
    assert explained(KafkaClient("kafka:1"), NoAccess("A sentence.")) == "A sentence."


def test_a_broker_that_ends_each_connection_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password may look like this."""
    kafka = KafkaClient("kafka:1", Properties("/c.properties", SCRAM, SCRAM))

    def ends(**_: Any) -> None:
        access.logging.getLogger("kafka.net.manager").warning("%s failed: %s", 0, access.KafkaError("disconnected"))
        raise access.KafkaTimeoutError("Unable to bootstrap from kafka:1")

    monkeypatch.setattr(access, "KafkaAdminClient", ends)
    with pytest.raises(NoAccess, match=r"Either it refuses the login .check sasl.jaas.config in KAFKA_CLIENT_PROPERT"):
        await_access(kafka, 100)


def test_a_broker_that_is_not_there_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = KafkaClient("kafka:1", Properties("/c.properties", SCRAM, SCRAM))
    attempts: list[int] = []

    class Admin:
        def __init__(self, **_: Any) -> None:
            attempts.append(1)
            if len(attempts) < 9:
                access.logging.getLogger("kafka.net.manager").error("%s", ConnectionRefusedError("refused"))
                raise access.KafkaTimeoutError("Unable to bootstrap from kafka:1")

        def close(self) -> None:
            pass

    monkeypatch.setattr(access, "KafkaAdminClient", Admin)
    await_access(kafka, 100)
    assert len(attempts) == 9
    attempts.clear()
    with pytest.raises(access.KafkaTimeoutError, match="no connection to kafka:1 within 0 s .refused"):
        await_access(kafka, 0)
