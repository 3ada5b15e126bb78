"""The client properties file: its format, its secrets, what each client gets of it, and what is refused."""

import pickle
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from kafka_client import KafkaClient, KafkaSettings, NoAccess, await_access
from kafka_client.client import checked_properties
from kafka_client.oauth import Tokens
from kafka_client.properties import BadProperties, parse, read
from service.settings import BadSetting, checked

MODULES = "org.apache.kafka.common.security"
PROVIDERS = "org.apache.kafka.common.config.provider"
PASSWORD = 'sec"ret\\=;'
JAAS = f'{MODULES}.scram.ScramLoginModule required username="job" password="sec\\"ret\\\\=;";'
PEM = {"security.protocol": "SSL", "ssl.truststore.type": "PEM"}
SCRAM = {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512", "sasl.jaas.config": JAAS}


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and its certificate, in PEM."""
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out crt.pem -days 1 -subj /CN=test"
    try:
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no openssl on the PATH")
    both = folder / "both.pem"
    both.write_text((folder / "key.pem").read_text() + (folder / "crt.pem").read_text())
    return both


def written(folder: Path, values: dict[str, str]) -> str:
    path = folder / "client.properties"
    escaped = {name: value.replace("\\", "\\\\") for name, value in values.items()}
    path.write_text("".join(f"{name}={value}\n" for name, value in escaped.items()))
    return str(path)


def client(folder: Path, **values: str) -> KafkaClient:
    return KafkaClient("kafka:1", checked_properties(written(folder, values)))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a=1\nb = 2\n  c:3\nd 4", {"a": "1", "b": "2", "c": "3", "d": "4"}),
        ("# no\n! no\n\na=b # c", {"a": "b # c"}),
        ("a=1\\\n   2\\\n3\nb=4", {"a": "123", "b": "4"}),
        ("a=1\\\\\nb=2", {"a": "1\\", "b": "2"}),
        ("a\\=b\\ c=d\\te\\u00e9\\q", {"a=b c": "d\teéq"}),
        ("a\nb=\n", {"a": "", "b": ""}),
        ("a=1\r\nb=2\r", {"a": "1", "b": "2"}),
        ("a=x=y;\na=z  ", {"a": "z  "}),
        ("a=1\\\n# 2", {"a": "1# 2"}),
    ],
)
def test_the_format_is_that_of_java(text: str, found: dict[str, str]) -> None:
    assert parse(text) == found


def test_without_a_file_clients_have_the_address_only() -> None:
    kafka = checked(KafkaSettings(kafka_bootstrap_servers="kafka:1", kafka_client_properties=""), {}).kafka
    assert kafka.options() == {"bootstrap_servers": "kafka:1"}
    assert kafka.spark_options() == {"kafka.bootstrap.servers": "kafka:1"}
    assert kafka.druid_properties() == {"bootstrap.servers": "kafka:1"}
    assert kafka.druid_environment() == {}
    await_access(kafka, 0)  # asks nobody


def test_a_login_with_a_password(tmp_path: Path) -> None:
    kafka = client(tmp_path, **SCRAM)
    options = kafka.options()
    context = options.pop("ssl_context")
    assert options == {
        "bootstrap_servers": "kafka:1",
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "job",
        "sasl_plain_password": PASSWORD,
    }
    assert context.check_hostname and context.verify_mode == ssl.CERT_REQUIRED
    assert kafka.spark_options() == {
        "kafka.bootstrap.servers": "kafka:1",
        **{f"kafka.{name}": value for name, value in SCRAM.items()},
    }
    assert kafka.druid_properties() == {
        "bootstrap.servers": "kafka:1",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "druid.dynamic.config.provider": {
            "type": "environment",
            "variables": {"sasl.jaas.config": "KAFKA_SASL_JAAS_CONFIG"},
        },
    }
    assert kafka.druid_environment() == {"KAFKA_SASL_JAAS_CONFIG": JAAS}
    assert kafka.user == "the user job"


def test_properties_for_other_purposes_change_no_client(tmp_path: Path) -> None:
    """As in the files of managed services. Exactly-once depends on what our clients set themselves."""
    others = {"bootstrap.servers": "other:1", "acks": "0", "group.id": "x", "basic.auth.user.info": "u:p"}
    kafka = client(tmp_path, **SCRAM, **others)
    for found in (kafka.options(), kafka.spark_options(), kafka.druid_properties()):
        assert not {name for name in found if name.endswith(("acks", "group.id", "user.info"))}
        assert "other:1" not in found.values()


def test_certificates_are_found_beside_the_file(tmp_path: Path, certificate: Path) -> None:
    for name in ("ca.pem", "own.pem"):
        (tmp_path / name).write_text(certificate.read_text())
    stores = {"truststore": "ca.pem", "keystore": "own.pem"}
    values = {f"ssl.{store}.location": name for store, name in stores.items()}
    values |= {f"ssl.{store}.type": "PEM" for store in stores}
    kafka = client(tmp_path, **{"security.protocol": "SSL"}, **values)
    context = kafka.options()["ssl_context"]
    assert [dict(each[0] for each in ca["subject"]) for ca in context.get_ca_certs()] == [{"commonName": "test"}]
    for found in (kafka.spark_options(), {f"kafka.{name}": v for name, v in kafka.druid_properties().items()}):
        assert found["kafka.ssl.truststore.location"] == str(tmp_path / "ca.pem")
        assert found["kafka.ssl.keystore.location"] == str(tmp_path / "own.pem")


def test_a_certificate_that_is_removed_later_is_an_error_of_kafka(tmp_path: Path, certificate: Path) -> None:
    (tmp_path / "ca.pem").write_text(certificate.read_text())
    kafka = client(tmp_path, **PEM, **{"ssl.truststore.location": "ca.pem"})
    (tmp_path / "ca.pem").unlink()
    with pytest.raises(
        NoAccess, match=r"client.properties. can't be used any more: its ssl.truststore.location, .* can"
    ):
        kafka.options()


def test_the_name_of_a_broker_is_checked_unless_the_property_is_empty(tmp_path: Path) -> None:
    name = "ssl.endpoint.identification.algorithm"
    for value, checks in (("https", True), ("HTTPS", True), ("", False)):
        options = client(tmp_path, **{"security.protocol": "SSL", name: value}).options()
        assert options["ssl_context"].check_hostname is checks


@pytest.mark.parametrize(
    ("provider", "reference"), [("DirectoryConfigProvider", "password"), ("FileConfigProvider", "job.password")]
)
def test_a_secret_may_be_in_a_file_of_its_own(tmp_path: Path, provider: str, reference: str) -> None:
    place = tmp_path / "secrets"
    place.mkdir()
    (place / "password").write_text("hidden")
    (tmp_path / "secrets.properties").write_text("job.password=hidden\n")
    where = place if provider.startswith("D") else tmp_path / "secrets.properties"
    jaas = f'{MODULES}.plain.PlainLoginModule required username="job" password="${{p:{where}:{reference}}}";'
    given = {
        "config.providers": "p",
        "config.providers.p.class": f"{PROVIDERS}.{provider}",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.jaas.config": jaas,
    }
    kafka = client(tmp_path, **given)
    assert kafka.options()["sasl_plain_password"] == "hidden"
    assert kafka.spark_options()["kafka.sasl.jaas.config"] == jaas  # Spark reads the file where it runs
    assert "config.providers" not in kafka.druid_properties()
    assert 'password="hidden"' in kafka.druid_environment()["KAFKA_SASL_JAAS_CONFIG"]


def test_secrets_are_shown_nowhere(tmp_path: Path) -> None:
    settings = checked(
        KafkaSettings(kafka_bootstrap_servers="kafka:1", kafka_client_properties=""),
        {"KAFKA_CLIENT_PROPERTIES": written(tmp_path, SCRAM)},
    )
    for shown in (repr(settings), str(settings.kafka), repr(settings.kafka.properties)):
        assert "ret" not in shown.replace("secret", "")
        assert "password" not in shown
    assert pickle.loads(pickle.dumps(settings)).kafka.options()["sasl_plain_password"] == PASSWORD  # to its processes


OAUTH = {"security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER"}
OAUTH_JAAS = f"{MODULES}.oauthbearer.OAuthBearerLoginModule required clientId=a clientSecret=b;"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"security.protocol": "TLS"}, "its security.protocol must be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"),
        (SCRAM | {"sasl.mechanism": "GSSAPI"}, "its sasl.mechanism must be PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAU"),
        (
            SCRAM | {"sasl.jaas.config": "x y"},
            "its sasl.jaas.config must be one line, as in ...ScramLoginModule requir",
        ),
        (
            SCRAM | {"sasl.mechanism": "PLAIN"},
            "its sasl.jaas.config must be one line, as in ...PlainLoginModule requir",
        ),
        (SCRAM | {"sasl.jaas.config": JAAS.replace("username", "user")}, "its sasl.jaas.config lacks username"),
        (
            {"security.protocol": "SSL", "ssl.truststore.location": "ca.jks"},
            "its ssl.truststore.type is JKS, which Pyth",
        ),
        (
            PEM | {"ssl.truststore.location": "/no/ca.pem"},
            "its ssl.truststore.location, /no/ca.pem, can't be read (No ",
        ),
        (PEM | {"ssl.truststore.location": "client.properties"}, "must hold certificates, in PEM"),
        (
            PEM | {"ssl.truststore.password": "x"},
            "the Python services can't follow its ssl.truststore.password: remove",
        ),
        (PEM | {"ssl.engine.factory.class": "x"}, "the Python services can't follow its ssl.engine.factory.class: rem"),
        (
            PEM | {"ssl.endpoint.identification.algorithm": "x"},
            "its ssl.endpoint.identification.algorithm must be http",
        ),
        (OAUTH | {"sasl.jaas.config": OAUTH_JAAS}, "it lacks sasl.oauthbearer.token.endpoint.url, an http, https or f"),
        (
            SCRAM | {"sasl.jaas.config": JAAS.replace("job", "${x:/a:b}")},
            "it refers to ${x:...}, and config.providers ",
        ),
    ],
)
def test_what_the_clients_can_not_follow_is_refused(tmp_path: Path, values: dict[str, str], reason: str) -> None:
    path = written(tmp_path, values)
    with pytest.raises(BadSetting) as error:
        checked(
            KafkaSettings(kafka_bootstrap_servers="kafka:1", kafka_client_properties=""),
            {"KAFKA_CLIENT_PROPERTIES": path},
        )
    message = str(error.value)
    assert message.startswith(
        f"KAFKA_CLIENT_PROPERTIES (or kafka_client_properties) can't be used, {path!r}: its "
    ) or (reason.startswith(("it ", "the ")))
    assert reason in message
    assert "ret" not in message.replace("secret", "").replace("directory", "")


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadProperties, match=r"^it can't be read \(No such file or directory\)$"):
        read(str(tmp_path / "none"))


@pytest.mark.parametrize(("content", "reason"), [(None, "can't be read (No such"), ("a\n", "ends with a line break")])
def test_a_secret_that_can_not_be_used_is_named(tmp_path: Path, content: str | None, reason: str) -> None:
    if content:
        (tmp_path / "password").write_text(content)
    jaas = JAAS.replace("job", f"${{d:{tmp_path}:password}}")
    given = {"config.providers": "d", "config.providers.d.class": f"{PROVIDERS}.DirectoryConfigProvider"}
    with pytest.raises(BadProperties) as error:
        read(written(tmp_path, SCRAM | given | {"sasl.jaas.config": jaas}))
    assert reason in str(error.value)


def test_an_encrypted_key_without_its_password_does_not_ask_on_the_terminal(tmp_path: Path, certificate: Path) -> None:
    command = ["openssl", "pkcs8", "-topk8", "-in", str(certificate), "-out", "key", "-passout", "pass:hidden"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    crt = certificate.read_text().split("-----END PRIVATE KEY-----\n")[1]
    (tmp_path / "own.pem").write_text((tmp_path / "key").read_text() + crt)
    values = {"security.protocol": "SSL", "ssl.keystore.type": "PEM", "ssl.keystore.location": "own.pem"}
    assert client(tmp_path, **values, **{"ssl.key.password": "hidden"}).options()["ssl_context"]
    for wrong in ("", "other"):
        with pytest.raises(BadProperties, match="must hold a private key and its certificate, with ssl.key.password"):
            client(tmp_path, **values, **{"ssl.key.password": wrong})


def test_a_token_is_kept_as_long_as_it_is_valid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []

    class Answer:
        def __enter__(self) -> "Answer":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def read(self) -> bytes:
            return b'{"access_token": "t%d", "expires_in": 3600}' % len(asked)

    def urlopen(request: Any, timeout: float) -> Answer:
        asked.append(request)
        return Answer()

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    endpoint = {"sasl.oauthbearer.token.endpoint.url": "https://login/token", "sasl.jaas.config": OAUTH_JAAS}
    tokens = client(tmp_path, **OAUTH, **endpoint).options()["sasl_oauth_token_provider"]
    assert [tokens.token(), tokens.token()] == ["t1", "t1"]
    [request] = asked
    assert request.data == b"grant_type=client_credentials"
    assert request.get_header("Authorization") == "Basic YTpi"
    tokens._valid_until = 0
    assert tokens.token() == "t2"


def test_a_token_in_a_file_is_read_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    tokens = Tokens(file.as_uri(), {})
    for text in ("one", "two"):
        file.write_text(f"{text}\n")
        assert tokens.token() == text
