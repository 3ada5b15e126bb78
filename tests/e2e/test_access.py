"""What other users of the machine, and specs posted by others, can't do."""

import shutil
import stat
import subprocess
from pathlib import Path

import psutil
import pytest
import requests
from pipeline import PORTS, RAW, Pipeline
from repository import ROOT

pytestmark = pytest.mark.timeout(900)
CONNECT = """
import java.sql.DriverManager;
import java.sql.SQLException;

class Connect {
    public static void main(String[] url) {
        try (var connection = DriverManager.getConnection(url[0])) {
            System.out.println("connected");
        } catch (SQLException refused) {
            System.out.println(refused.getSQLState());
        }
    }
}
"""
AUTHENTICATION_FAILED = "08004"


def connect(folder: Path, options: str) -> str:
    """What Java says about a connection to the metadata store."""
    program = folder / "Connect.java"
    program.write_text(CONNECT)
    url = f"jdbc:derby://127.0.0.1:{PORTS['DERBY_PORT']}/var/druid/metadata.db{options}"
    jars = str(ROOT / ".local/jars/druid/lib/*")
    done = subprocess.run(["java", "-cp", jars, str(program), url], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(not shutil.which("javac"), reason="a JDK compiles the program that connects")
def test_the_metadata_store_asks_for_a_password_that_only_its_owner_can_read(stack: Pipeline, tmp_path: Path) -> None:
    for options in ("", ";user=app;password=app"):
        assert connect(tmp_path, options) == AUTHENTICATION_FAILED
    file = stack.folder / "data/druid/derby.args"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    password = file.read_text().strip().rpartition("=")[2]
    assert connect(tmp_path, f";user=app;password={password}") == "connected"
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
