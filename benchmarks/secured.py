"""TLS and a login for the benchmark's broker: a second listener, and the settings of its clients."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

from broker import PORTS, client_port
from local_stack.errors import StackError
from local_stack.paths import DATA
from local_stack.service import Service
from service.files import write_whole

FOLDER = DATA / "tls"
PORT = PORTS["KAFKA1_PORT"]  # of a second broker, which doesn't run beside this one
USER, PASSWORD = "bench", "bench-secret"
MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule required"


def secured(broker: Service) -> tuple[Service, dict[str, str]]:
    """The broker with a listener for SASL_SSL besides, and the settings with which clients use it.

    The certificate signs itself, so it is its own CA. Raises StackError without openssl.
    """
    certificate = make_certificate()
    ((path, shared),) = broker.configuration.items()
    controller = broker.ports["KAFKA_CONTROLLER_PORT"]
    listeners = {
        "PLAINTEXT": f"127.0.0.1:{client_port(broker)}",
        "SASL_SSL": f"localhost:{PORT}",
        "CONTROLLER": f"127.0.0.1:{controller}",
    }
    named = [f"{name}://{address}" for name, address in listeners.items()]
    # The last line of a name wins. Paths are relative to the broker's folder, as in local_stack/servers.py.
    more = {
        "listeners": ",".join(named),
        "advertised.listeners": ",".join(named[:2]),
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": os.path.relpath(certificate, broker.folder),
        "listener.name.sasl_ssl.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": f'{MODULE} user_{USER}="{PASSWORD}";',
    }
    lines = "".join(f"{name}={value}\n" for name, value in more.items())
    client = FOLDER / "client.properties"
    write_whole(
        client,
        "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\n"
        f'sasl.jaas.config={MODULE} username="{USER}" password="{PASSWORD}";\n'
        f"ssl.truststore.type=PEM\nssl.truststore.location={FOLDER / 'ca.pem'}\n",
        mode=0o600,
    )
    settings = {"KAFKA_BOOTSTRAP_SERVERS": f"localhost:{PORT}", "KAFKA_CLIENT_PROPERTIES": str(client)}
    return replace(broker, configuration={path: shared + lines}), settings


def make_certificate() -> Path:
    """The broker's key (PKCS #8) and certificate in one PEM file; ca.pem beside it has the certificate."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    command = [
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
        *("-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "ca.pem"),
    ]
    try:
        subprocess.run(command, cwd=FOLDER, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise StackError("The case scaling needs openssl, which is not on the PATH: install it.") from None
    except subprocess.CalledProcessError as error:
        raise StackError(f"openssl could not make a certificate: {error.stderr[-500:]}") from error
    both = FOLDER / "broker.pem"
    write_whole(both, (FOLDER / "key.pem").read_text() + (FOLDER / "ca.pem").read_text(), mode=0o600)
    return both
