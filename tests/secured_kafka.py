"""A Kafka broker with TLS, logins and ACLs, in a folder of its own, with certificates made by openssl."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ResourcePattern,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from kafka.errors import KafkaError
from local_stack.paths import JARS
from processes import free_ports

LISTENERS = ("CONTROLLER", "LOCAL", "SASL", "TLS", "EXPIRED")
CLUSTER_ID = "c2Vuc29yLWRhdGEtdGVzdA"
ADMIN, ADMIN_PASSWORD = "admin", "admin-secret"
START_LIMIT = 60  # seconds
MODULES = "org.apache.kafka.common.security"


@dataclass
class SecuredKafka:
    """The broker's addresses, by listener, and files for its clients."""

    folder: Path
    ports: Mapping[str, int]  # SASL: SASL_SSL; TLS: SSL with a client certificate; EXPIRED: SSL with an old certificate

    def address(self, listener: str = "SASL") -> str:
        return f"localhost:{self.ports[listener]}"

    def properties(self, name: str, **changed: str | None) -> str:
        """A client properties file for the user `name`; `changed` by names with _ for a dot, None to leave it out."""
        values: dict[str, str | None] = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.jaas.config": scram(name, f"{name}-secret"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": "ca.pem",
        }
        values |= {each.replace("_", "."): value for each, value in changed.items()}
        path = self.folder / f"{name}-{abs(hash(tuple(values.items())))}.properties"
        path.write_text("".join(f"{each}={value}\n" for each, value in values.items() if value is not None))
        return str(path)

    def token(self, user: str) -> Path:
        """A file with an unsecured token (RFC 7519, section 6), which this broker accepts."""
        now = int(time.time())
        parts = [{"alg": "none"}, {"sub": user, "iat": now, "exp": now + 3600}]
        encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
        path = self.folder / f"{user}.token"
        path.write_text(f"{'.'.join(encoded)}.\n")
        return path


def scram(user: str, password: str) -> str:
    return f'{MODULES}.scram.ScramLoginModule required username="{user}" password="{password}";'


def plain(user: str, password: str) -> str:
    return f'{MODULES}.plain.PlainLoginModule required username="{user}" password="{password}";'


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def authority(folder: Path, name: str) -> None:
    """A CA: name.pem and name.key."""
    openssl(
        folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem",
        "-days", "30", "-subj", f"/CN={name}",
    )  # fmt: skip


def certificate(folder: Path, name: str, subject: str, ca: str = "ca", *, expired: bool = False) -> None:
    """name.pem: a key in PKCS#8 and its certificate, for localhost, issued by a CA."""
    openssl(
        folder, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
        "-subj", f"/CN={subject}",
    )  # fmt: skip
    (folder / "names.cnf").write_text("subjectAltName=DNS:localhost\n")
    (folder / f"{ca}.index").write_text("")
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=one\n[one]\ndatabase={ca}.index\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\n"
        "policy=any\nunique_subject=no\n[any]\ncommonName=supplied\n"
    )
    times = ("20200101000000Z", "20200102000000Z") if expired else ("20250101000000Z", "20490101000000Z")
    openssl(
        folder, "ca", "-batch", "-config", "ca.cnf", "-cert", f"{ca}.pem", "-keyfile", f"{ca}.key", "-notext",
        "-startdate", times[0], "-enddate", times[1], "-extfile", "names.cnf", "-in", f"{name}.csr",
        "-out", f"{name}.crt",
    )  # fmt: skip
    (folder / f"{name}.pem").write_text((folder / f"{name}.key").read_text() + (folder / f"{name}.crt").read_text())


def configuration(folder: Path, ports: Mapping[str, int]) -> str:
    users = f'user_{ADMIN}="{ADMIN_PASSWORD}" user_plain="plain-secret"'
    listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())
    advertised = ",".join(f"{name}://localhost:{port}" for name, port in ports.items() if name != "CONTROLLER")
    unsecured = f'{MODULES}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";'
    return f"""
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
controller.quorum.voters=1@localhost:{ports["CONTROLLER"]}
inter.broker.listener.name=LOCAL
listeners={listeners}
advertised.listeners={advertised}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,LOCAL:PLAINTEXT,SASL:SASL_SSL,TLS:SSL,EXPIRED:SSL
log.dirs={folder}/log
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:{ADMIN};User:ANONYMOUS
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
ssl.keystore.type=PEM
ssl.keystore.location={folder}/broker.pem
listener.name.tls.ssl.client.auth=required
listener.name.tls.ssl.principal.mapping.rules=RULE:^CN=([^,]+)$/$1/
listener.name.expired.ssl.keystore.location={folder}/expired.pem
listener.name.sasl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.sasl.plain.sasl.jaas.config={MODULES}.plain.PlainLoginModule required {users};
listener.name.sasl.scram-sha-256.sasl.jaas.config={MODULES}.scram.ScramLoginModule required;
listener.name.sasl.scram-sha-512.sasl.jaas.config={MODULES}.scram.ScramLoginModule required;
listener.name.sasl.oauthbearer.sasl.jaas.config={unsecured}
"""


class Broker:
    """The process of the broker. `settings` are lines of its configuration that win over the usual ones."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self._settings = settings
        ports = dict(zip(LISTENERS, free_ports(len(LISTENERS)), strict=True))
        self.kafka = SecuredKafka(folder, ports)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        for program in ("java", "openssl"):
            if not shutil.which(program):
                pytest.skip(f"a secured Kafka needs {program}, which is not on the PATH")
        if not (JARS / "kafka").is_dir():
            pytest.skip("a secured Kafka needs its jars: make install")
        folder = self.kafka.folder
        for ca in ("ca", "other-ca"):
            authority(folder, ca)
        certificate(folder, "broker", "broker")
        certificate(folder, "expired", "broker", expired=True)
        certificate(folder, "client", "certified")
        certificate(folder, "old-client", "certified", expired=True)
        certificate(folder, "foreign-client", "certified", "other-ca")
        settings = folder / "server.properties"
        settings.write_text("\n".join((configuration(folder, self.kafka.ports), *self._settings)))
        java = ["java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{JARS / 'kafka'}/*"]
        tool = [*java, "kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config", str(settings)]
        environment = {"PATH": os.environ["PATH"]}
        with (folder / "broker.log").open("w") as log:
            subprocess.run(tool, check=True, stdout=log, stderr=log, cwd=folder, env=environment)
            command = [*java, "kafka.Kafka", str(settings)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment)
        deadline = time.monotonic() + START_LIMIT
        while True:
            try:
                self.admin().close()
                return
            except KafkaError:
                assert self._process.poll() is None, (folder / "broker.log").read_text()[-3000:]
                assert time.monotonic() < deadline, (folder / "broker.log").read_text()[-3000:]

    def add_user(self, name: str, *rights: tuple[ResourceType, str, str], password: str = "") -> None:
        """A user with the password NAME-secret or another one, and these rights: kind, name and operations."""
        with self.admin() as admin:
            for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
                user = UserScramCredentialUpsertion(name, mechanism, password or f"{name}-secret", iterations=4096)
                admin.alter_user_scram_credentials([user])
        self.allow(name, *rights)

    def allow(self, name: str, *rights: tuple[ResourceType, str, str]) -> None:
        allowed = [
            ACL(f"User:{name}", "*", ACLOperation[operation], ACLPermissionType.ALLOW, ResourcePattern(kind, resource))
            for kind, resource, operations in rights
            for operation in operations.split()
        ]
        if allowed:
            with self.admin() as admin:
                done = admin.create_acls(allowed)
            assert len(done["succeeded"]) == len(allowed), done

    def admin(self) -> KafkaAdminClient:
        """A client that may do everything."""
        return KafkaAdminClient(bootstrap_servers=self.kafka.address("LOCAL"), bootstrap_timeout_ms=2000)

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
