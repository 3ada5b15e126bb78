"""Why Kafka doesn't let a client in, or doesn't let it do something: the sentence for the user.

kafka-python tries again whatever the reason is, and Spark gives a text only. So the reasons are found by their texts.
"""

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from kafka import KafkaAdminClient
from kafka.errors import KafkaError, KafkaTimeoutError

from kafka_client.client import SETTING, KafkaClient, NoAccess

ATTEMPT = 3  # seconds until the reason of a failed attempt is looked at
# A broker that refuses a login says so and ends the connection. kafka-python may see the end alone.
ENDED = "Unable to bootstrap|disconnected|EOF|Invalid frame|RequestTimedOut"
ENOUGH = 3  # such attempts in a row: a broker that starts or ends also refuses connections
RIGHTS = "docs/operations.md lists the rights"


def await_access(kafka: KafkaClient, timeout: float) -> None:
    """Return when Kafka has let the client in. Without client properties, nothing is asked.

    Raises NoAccess at once for a reason that waiting doesn't cure, and KafkaTimeoutError after `timeout` seconds.
    """
    deadline, ended = time.monotonic() + timeout, 0
    while kafka.properties.values:
        with _failures() as failures:
            try:
                KafkaAdminClient(**kafka.options(), bootstrap_timeout_ms=ATTEMPT * 1000).close()
                return
            except KafkaError as error:
                failures.insert(0, error)
        for failure in failures:
            if sentence := explained(kafka, failure):
                raise NoAccess(sentence)
        ended = ended + 1 if all(re.search(ENDED, str(failure)) for failure in failures) else 0
        if ended == ENOUGH:
            raise NoAccess(
                f"Kafka at {kafka.servers} ends each connection of {kafka.user}. Either it refuses the login (check"
                f" sasl.jaas.config in {named(kafka)}), or security.protocol is not the one of this listener."
            )
        if time.monotonic() > deadline:
            raise KafkaTimeoutError(f"no connection to {kafka.servers} within {timeout:g} s ({failures[-1]})")


def no_topic(kafka: KafkaClient, topic: str) -> str:
    """What to say of a topic that Kafka does not show."""
    if kafka.properties.values:
        return (
            f"topic {topic} does not exist (kafka/create_topics.py creates it), or {kafka.user} may not describe it"
            f" ({RIGHTS})"
        )
    return f"topic {topic} does not exist; kafka/create_topics.py creates it"


@contextmanager
def _failures() -> Iterator[list[BaseException]]:
    """What kafka-python logs of failed attempts: its clients themselves raise only that there was no connection."""
    found: list[BaseException] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            arguments = record.args if isinstance(record.args, tuple) else ()
            found.extend(each for each in arguments if isinstance(each, BaseException))

    logger, handler = logging.getLogger("kafka.net.manager"), Handler()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before


def named(kafka: KafkaClient) -> str:
    """The properties file as messages name it."""
    return f"{SETTING} ({kafka.properties.path})" if kafka.properties.path else SETTING


def explained(kafka: KafkaClient, error: object) -> str | None:
    """The cause and the remedy of an error of kafka-python or of Java's client; None if it is not about access."""
    if isinstance(error, NoAccess):
        return str(error)
    text = str(error).rstrip(".")
    for pattern, sentence in REASONS.items():
        if match := re.search(pattern, text, re.DOTALL):
            topics = ", ".join(re.findall(r"[\w.-]+", match.groupdict().get("topics") or "")) or "that it needs"
            return sentence.format(
                servers=kafka.servers,
                file=named(kafka),
                user=kafka.user,
                topics=topics,
                rights=RIGHTS,
            )
    return None


LOGIN = "Kafka at {servers} refuses the login of {user}: check the user and the password in sasl.jaas.config of {file}."
OWN_CERTIFICATE = (
    "Kafka at {servers} refuses this client's certificate: check the one in ssl.keystore.location of {file}, its end"
    " and its CA."
)
# Of the errors of kafka-python, of OpenSSL and of Java's client
REASONS = {
    r"SaslAuthenticationFailed|SaslAuthenticationException|Server sent wrong signature": LOGIN,
    r"UnsupportedSaslMechanism": (
        "Kafka at {servers} does not offer the sasl.mechanism of {file}: take one that its listener has."
    ),
    r"IllegalSaslState": (
        "Kafka at {servers} expects no login on this listener: correct security.protocol in {file}, or"
        " KAFKA_BOOTSTRAP_SERVERS."
    ),
    r"CERTIFICATE_VERIFY_FAILED.*has expired": (
        "The certificate of Kafka at {servers} has expired: renew it on the broker, or correct this machine's clock."
    ),
    r"CERTIFICATE_VERIFY_FAILED.*mismatch": (
        "The certificate of Kafka at {servers} is for other names: use one of them in KAFKA_BOOTSTRAP_SERVERS (the"
        " broker's advertised.listeners too), or renew it. An empty ssl.endpoint.identification.algorithm in {file}"
        " switches this check off."
    ),
    r"CERTIFICATE_VERIFY_FAILED": (
        "The certificate of Kafka at {servers} was not issued by a CA in ssl.truststore.location of {file}: add the CA,"
        " in PEM."
    ),
    r"ALERT_(?:UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE|HANDSHAKE_FAILURE)|BAD_CERTIFICATE_ALERT": OWN_CERTIFICATE,
    r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|UNEXPECTED_MESSAGE": (
        "Kafka at {servers} does not answer with TLS: correct security.protocol in {file}, or KAFKA_BOOTSTRAP_SERVERS."
    ),
    r"TransactionalIdAuthorization": (
        "Kafka does not let {user} use this transactional id: allow WRITE and DESCRIBE on it, or set"
        " KAFKA_TRANSACTIONAL_ID (or kafka_transactional_id) to one that is allowed; {rights}."
    ),
    r"GroupAuthorization": (
        "Kafka does not let {user} use the consumer group: allow READ on it, or set KAFKA_GROUP_ID (or kafka_group_id;"
        " of the generator KAFKA_GENERATOR_GROUP_ID) to one that is allowed; {rights}."
    ),
    r".*TopicAuthorization(?:FailedError|Exception): (?:[\w ]*: )?[\[{]?(?P<topics>[^\]})]*)|TopicAuthorization": (
        "Kafka does not let {user} use the topic {topics}: allow it, or set the variable of the topic's name, as"
        " KAFKA_RAW_TOPIC, to one that is allowed; {rights}."
    ),
    r"ClusterAuthorization": "Kafka does not let {user} do this in the cluster: {rights}.",
}
