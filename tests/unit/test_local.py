"""The mode without Docker: what it asks of a machine, and what its process manager is told."""

import configparser
import socket
from pathlib import Path

import pytest
from rooms import ROOT

import install
import preflight
import services


def test_without_java_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="Java 17 or 21 is needed, and there is no java on the PATH: install it"):
        install.java()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(SystemExit, match=f"JAVA_HOME is {tmp_path}, but there is no bin/java in it"):
        install.java()


def test_another_java_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin/java"
    fake.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    fake.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(SystemExit, match="is version 11"):
        install.java()


def test_without_maven_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="there is no mvn on the PATH: install it"):
        install.maven()


def test_a_busy_port_is_named_with_its_owner_and_the_remedy() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            SystemExit, match=rf"Port {port}, which router needs, .*process \d+.*set ROUTER_PORT in \.env"
        ):
            preflight.check_port("router", "ROUTER_PORT", port)


@pytest.mark.parametrize("what", ["NEEDED_MEMORY", "NEEDED_DISK"])
def test_too_little_room_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str) -> None:
    monkeypatch.setattr(preflight, "STACK", tmp_path)
    monkeypatch.setattr(preflight, what, 1e18)
    with pytest.raises(SystemExit, match="GiB .* and the stack needs"):
        preflight.check({})


@pytest.fixture
def configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> configparser.ConfigParser:
    for name, path in (("STACK", tmp_path), ("CONFIGURATION", tmp_path / "conf"), ("SOCKET", tmp_path / "sock")):
        monkeypatch.setattr(services, name, path)
    monkeypatch.setenv("SCRIPT_DURATION", "60")
    services.write_configuration(services.services())
    config = configparser.ConfigParser(interpolation=None)
    config.read(tmp_path / "conf")
    return config


def test_an_override_goes_to_its_service_alone(configuration: configparser.ConfigParser) -> None:
    given = [
        name
        for name in configuration.sections()
        if 'SCRIPT_DURATION="60"' in configuration[name].get("environment", "")
    ]
    assert given == ["program:sensorgenerator"]


def test_every_server_listens_on_this_machine_only(configuration: configparser.ConfigParser) -> None:
    kafka = (services.STACK / "kafka.properties").read_text()
    assert "listeners=PLAINTEXT://127.0.0.1:" in kafka
    assert "clientPortAddress=127.0.0.1" in (services.STACK / "zookeeper.properties").read_text()
    common = (ROOT / "druid/cluster/_common/common.runtime.properties").read_text()
    assert "druid.host=127.0.0.1\ndruid.bindOnHost=true" in common


def test_an_edit_of_a_script_changes_its_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(services, "ROOT", tmp_path)
    (tmp_path / "room").mkdir()
    script = tmp_path / "room/script.py"
    script.write_text("num_entities = 200\n")
    service = services.Service(["python", str(script)], script.parent)
    before = services._digest(service)
    assert services._digest(service) == before
    script.write_text("num_entities = 7\n")
    assert services._digest(service) != before
