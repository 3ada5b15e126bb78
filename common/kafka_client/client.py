"""One way to reach Kafka for every client: kafka-python's options, Spark's and Druid's, from the same properties.

https://kafka.apache.org/documentation/#security has the names. What kafka-python can't follow is refused: a client that
ignored a property would be less secure than the file says.
"""

import re
import ssl
from dataclasses import dataclass, field
from typing import Any

from kafka.errors import KafkaError
from service.settings import parsed, servers

from kafka_client.oauth import Tokens
from kafka_client.properties import SECRET, BadProperties, Properties, read

SETTING = "KAFKA_CLIENT_PROPERTIES"
PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
WITH_PASSWORD = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
# The login module of Java's clients, for which sasl.jaas.config has the user and the password
MODULES = {"PLAIN": "PlainLoginModule", "OAUTHBEARER": "OAuthBearerLoginModule"}
SCRAM_MODULE = "ScramLoginModule"

TRANSLATED = {
    "security.protocol", "sasl.mechanism", "sasl.jaas.config", "sasl.oauthbearer.token.endpoint.url",
    "ssl.truststore.type", "ssl.truststore.location", "ssl.keystore.type", "ssl.keystore.location", "ssl.key.password",
    "ssl.endpoint.identification.algorithm",
}  # fmt: skip
# kafka-python has its own way for these: TLS 1.2 and newer, the system's random numbers, tokens asked for in time.
OF_JAVA_ALONE = (
    "config.providers", "security.providers", "ssl.protocol", "ssl.enabled.protocols", "ssl.provider",
    "ssl.secure.random.implementation", "ssl.keymanager.algorithm", "ssl.trustmanager.algorithm", "sasl.login.",
)  # fmt: skip


class NoAccess(KafkaError):
    """Kafka doesn't let this client in or do something, or isn't the Kafka it should be; the text is for the user."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class KafkaClient:
    """Where Kafka is and how to connect."""

    servers: str
    properties: Properties = field(default_factory=Properties)

    def options(self) -> dict[str, Any]:
        """The options of kafka-python's clients for the connection.

        Raises NoAccess for a file that could be read at the start, and can't be now.
        """
        try:
            return self.checked_options()
        except BadProperties as error:
            raise NoAccess(f"{SETTING} ({self.properties.path}) can't be used any more: {error}.") from None

    def checked_options(self) -> dict[str, Any]:
        """options(), but raises BadProperties."""
        found, protocol = self.properties, self.protocol
        options: dict[str, Any] = {"bootstrap_servers": self.servers}
        if not found.values:
            return options
        options["security_protocol"] = protocol
        if protocol.endswith("SSL"):
            options["ssl_context"] = ssl_context(found)
        if protocol.startswith("SASL"):
            options["sasl_mechanism"] = mechanism = found.get("sasl.mechanism", "GSSAPI")
            jaas = login(found)
            if mechanism in WITH_PASSWORD:
                options |= {"sasl_plain_username": jaas["username"], "sasl_plain_password": jaas["password"]}
            else:
                endpoint = found.get("sasl.oauthbearer.token.endpoint.url")
                options["sasl_oauth_token_provider"] = Tokens(endpoint, jaas)
        return options

    @property
    def protocol(self) -> str:
        return self.properties.get("security.protocol", "PLAINTEXT")

    @property
    def user(self) -> str:
        """The user who logs in, as far as the file says."""
        name = login(self.properties).get("username") if self.protocol.startswith("SASL") else None
        return f"the user {name}" if name else "this client"

    def spark_options(self) -> dict[str, str]:
        """The options of Spark's Kafka source for the connection. Spark itself asks config providers."""
        given = {f"kafka.{name}": value for name, value in self.properties.given.items()}
        return {"kafka.bootstrap.servers": self.servers, **given}

    def druid_properties(self) -> dict[str, Any]:
        """The consumerProperties of a supervisor spec: Druid's servers have the secrets in environment variables."""
        found = self.properties.values
        variables = {name: druid_variable(name) for name in found if name in SECRET}
        public = {name: value for name, value in found.items() if name not in SECRET and not _of_providers(name)}
        secrets = {"druid.dynamic.config.provider": {"type": "environment", "variables": variables}}
        return {"bootstrap.servers": self.servers, **public, **(secrets if variables else {})}

    def druid_environment(self) -> dict[str, str]:
        """The environment variables with the secrets for Druid's servers."""
        return {druid_variable(name): value for name, value in self.properties.values.items() if name in SECRET}


def druid_variable(name: str) -> str:
    """The environment variable in which Druid's servers have a secret property."""
    return f"KAFKA_{name.upper().replace('.', '_')}"


def _of_providers(name: str) -> bool:
    return name.startswith("config.providers")  # Druid refuses them


def checked_properties(path: Any) -> Properties:
    """The properties of a file that all clients can follow. Raises BadProperties."""
    found = path if isinstance(path, Properties) else read(str(path).strip())
    check(found)
    return found


def check(found: Properties) -> None:
    """Raise BadProperties for what kafka-python can't follow."""
    if found.get("security.protocol", "PLAINTEXT") not in PROTOCOLS:
        raise BadProperties(f"its security.protocol must be {', '.join(PROTOCOLS[:-1])} or {PROTOCOLS[-1]}")
    for name in found.values:
        if name not in TRANSLATED and not name.startswith(OF_JAVA_ALONE) and found.get(name):
            raise BadProperties(f"the Python services can't follow its {name}: remove it")
    KafkaClient("", found).checked_options()


@dataclass(frozen=True, kw_only=True)
class KafkaSettings:
    """The settings that every service has which is a client of Kafka."""

    kafka_bootstrap_servers: str = servers()
    kafka_client_properties: str | Properties = parsed(checked_properties)  # noqa: RUF009

    @property
    def kafka(self) -> KafkaClient:
        """How to reach Kafka; of settings that checked() has passed."""
        assert isinstance(self.kafka_client_properties, Properties)
        return KafkaClient(self.kafka_bootstrap_servers, self.kafka_client_properties)


def login(found: Properties) -> dict[str, str]:
    """The options in sasl.jaas.config. Raises BadProperties unless it has what the mechanism needs."""
    mechanism = found.get("sasl.mechanism", "GSSAPI")  # Kafka's default
    if mechanism not in (*WITH_PASSWORD, "OAUTHBEARER"):
        raise BadProperties(f"its sasl.mechanism must be {', '.join(WITH_PASSWORD)} or OAUTHBEARER")
    module = MODULES.get(mechanism, SCRAM_MODULE)
    words = found.get("sasl.jaas.config")
    match = re.fullmatch(r"([\w.$]+)\s+(?:required|requisite|sufficient|optional)\b(.*);", words, re.DOTALL)
    if not match or match[1].rpartition(".")[2] != module:
        raise BadProperties(f'its sasl.jaas.config must be one line, as in ...{module} required name="value";')
    options = {
        name: re.sub(r"\\(.)", r"\1", value[1:-1]) if value[0] in "\"'" else value
        for name, value in re.findall(r"""([\w.-]+)\s*=\s*("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^\s"';]+)""", match[2])
    }
    needed = ("username", "password") if mechanism in WITH_PASSWORD else ()
    if missing := [name for name in needed if name not in options]:
        raise BadProperties(f"its sasl.jaas.config lacks {' and '.join(missing)}")
    if mechanism == "OAUTHBEARER":
        endpoint = found.get("sasl.oauthbearer.token.endpoint.url")
        if not endpoint.startswith(("https://", "http://", "file:")):
            raise BadProperties("it lacks sasl.oauthbearer.token.endpoint.url, an http, https or file URL")
        if not endpoint.startswith("file:") and not {"clientId", "clientSecret"} <= options.keys():
            raise BadProperties("its sasl.jaas.config lacks clientId and clientSecret")
    return options


def ssl_context(found: Properties) -> ssl.SSLContext:
    """TLS as the properties say. Raises BadProperties for a file that can't be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = checks_names(found)
    if trusted := _pem(found, "truststore"):
        try:
            context.load_verify_locations(trusted)
        except OSError as error:  # SSLError is one, too
            raise BadProperties(f"its ssl.truststore.location, {trusted}, {_wrong(error, 'certificates')}") from None
    else:
        context.load_default_certs()
    if own := _pem(found, "keystore"):
        try:
            # Without a function, OpenSSL would ask for the password on the terminal.
            context.load_cert_chain(own, password=lambda: found.get("ssl.key.password"))
        except OSError as error:
            what = "a private key and its certificate, with ssl.key.password if the key is encrypted"
            raise BadProperties(f"its ssl.keystore.location, {own}, {_wrong(error, what)}") from None
    return context


def checks_names(found: Properties) -> bool:
    """Whether a broker's certificate must name its host: an empty property says no, as for Java."""
    algorithm = found.get("ssl.endpoint.identification.algorithm", "https").lower()
    if algorithm not in ("https", ""):
        raise BadProperties("its ssl.endpoint.identification.algorithm must be https or empty")
    return bool(algorithm)


def _pem(found: Properties, store: str) -> str:
    """The location of a store, empty if there is none. Raises BadProperties unless it is in PEM."""
    location, kind = found.get(f"ssl.{store}.location"), found.get(f"ssl.{store}.type", "JKS")
    if location and kind != "PEM":
        raise BadProperties(
            f"its ssl.{store}.type is {kind}, which Python can't read: convert the store to PEM, which Java reads, too,"
            f" and set ssl.{store}.type=PEM"
        )
    return location


def _wrong(error: OSError, content: str) -> str:
    if isinstance(error, ssl.SSLError):
        return f"must hold {content}, in PEM"
    return f"can't be read ({error.strerror})"
