"""What other users of the machine, and specs posted by others, can't do."""

import stat
from pathlib import Path

import psutil
import pyspark
import pytest
import requests
from pipeline import PORTS, RAW, Pipeline
from py4j.java_gateway import JavaGateway
from py4j.protocol import Py4JJavaError
from repository import ROOT

pytestmark = pytest.mark.timeout(900)
AUTHENTICATION_FAILED = "08004"


def connect(options: str) -> str:
    """What Java says about a connection to the metadata store: "connected", or the SQL state of the error."""
    [py4j_jar] = (Path(pyspark.__file__).parent / "jars").glob("py4j-*.jar")
    gateway = JavaGateway.launch_gateway(
        jarpath=str(py4j_jar), classpath=str(ROOT / ".local/jars/druid/lib/*"), die_on_exit=True
    )
    try:
        url = f"jdbc:derby://127.0.0.1:{PORTS['DERBY_PORT']}/var/druid/metadata.db{options}"
        gateway.jvm.java.sql.DriverManager.getConnection(url).close()
        return "connected"
    except Py4JJavaError as error:
        return str(error.java_exception.getSQLState())
    finally:
        gateway.shutdown()


def test_the_metadata_store_asks_for_a_password_that_only_its_owner_can_read(stack: Pipeline) -> None:
    for options in ("", ";user=app;password=app"):
        assert connect(options) == AUTHENTICATION_FAILED
    file = stack.folder / "data/druid/derby.args"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    password = file.read_text().strip().rpartition("=")[2]
    assert connect(f";user=app;password={password}") == "connected"
    coordinator = psutil.Process(stack.processes()["coordinator"])
    assert password not in " ".join(coordinator.cmdline())
    properties = requests.get(f"http://127.0.0.1:{PORTS['COORDINATOR_PORT']}/status/properties", timeout=30).text
    assert "druid.metadata.storage.connector.user" in properties
    assert password not in properties


@pytest.mark.parametrize(
    ("properties", "refused"),
    [
        (
            {
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "PLAIN",
                "sasl.jaas.config": f"com.sun.security.auth.module.{module} required;",
            },
            module,
        )
        for module in ("JndiLoginModule", "LdapLoginModule")
    ]
    + [
        (
            {
                "config.providers": "file",
                "config.providers.file.class": "org.apache.kafka.common.config.provider.FileConfigProvider",
            },
            "FileConfigProvider",
        )
    ],
)
def test_a_spec_can_not_use_a_login_module_or_a_config_provider(
    stack: Pipeline, properties: dict[str, str], refused: str
) -> None:
    io = {
        "type": "kafka",
        "topic": RAW,
        "consumerProperties": {"bootstrap.servers": stack.kafka, **properties},
        "inputFormat": {"type": "json"},
        "useEarliestOffset": True,
    }
    data = {
        "dataSource": "sample",
        "timestampSpec": {"column": "time"},
        "dimensionsSpec": {},
        "granularitySpec": {"rollup": False},
    }
    spec = {
        "type": "kafka",
        "spec": {"type": "kafka", "ioConfig": io, "dataSchema": data, "tuningConfig": {"type": "kafka"}},
        "samplerConfig": {"numRows": 1, "timeoutMs": 5000},
    }
    response = requests.post(f"{stack.router}/druid/indexer/v1/sampler", json=spec, timeout=60)
    log = (stack.folder / "logs/coordinator.log").read_text()
    assert not response.ok
    assert any(refused in line and "is not allowed" in line for line in [response.text, *log.splitlines()]), (
        response.text
    )
