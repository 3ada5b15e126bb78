"""The mode without Docker: what it asks of a machine, and what its process manager is told."""

import configparser
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rooms import ROOT

import preflight
import services
import settings


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


@pytest.mark.parametrize(
    ("edited", "restarted"),
    [
        ("kafka/server.properties", {"kafka0", "topics"}),
        (
            "druid/cluster/_common/common.runtime.properties",
            {"coordinator", "broker", "historical", "indexer", "router"},
        ),
        ("druid/cluster/query/broker/runtime.properties", {"broker"}),
        ("sensor-data-generator/producer.py", {"sensorgenerator"}),
    ],
)
def test_an_edit_changes_the_services_that_are_made_of_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, edited: str, restarted: set[str]
) -> None:
    for room in ("kafka", "druid", "sensor-data-generator"):
        shutil.copytree(ROOT / room, tmp_path / room)
    (tmp_path / "sensor-data-generator/.#producer.py").symlink_to("an.editors.lock")
    monkeypatch.setattr(services, "ROOT", tmp_path)
    monkeypatch.setattr(services, "STACK", tmp_path / "stack")

    def digests() -> dict[str, str]:
        return {name: services._digest(service.files) for name, service in services.services().items()}

    before = digests()
    assert digests() == before
    with (tmp_path / edited).open("a") as file:
        file.write("# edited\n")
    assert {name for name, digest in digests().items() if digest != before[name]} == restarted


def test_another_port_changes_the_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(services, "STACK", tmp_path)
    before = {name: services._digest(service.files) for name, service in services.services().items()}
    monkeypatch.setenv("KAFKA_PORT", "9999")
    monkeypatch.setenv("ZOOKEEPER_PORT", "2222")
    for name in ("kafka0", "zookeeper"):
        assert services._digest(services.services()[name].files) != before[name]


@pytest.mark.parametrize("value", ['"10 seconds"', "10\nseconds", "10 seconds # or so", "10;20"])
def test_an_override_that_the_process_manager_could_not_read_is_refused(
    configuration: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    monkeypatch.setenv("WINDOW_DURATION", value)
    with pytest.raises(SystemExit, match="2"):
        services.write_configuration(services.services())
    assert f"WINDOW_DURATION is {value!r}: it must not hold" in capsys.readouterr().err


def test_java_is_looked_for_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin/java"
    fake.write_text(f"#!/bin/sh\necho asked >> {tmp_path}/asked\necho 'version \"17.0\"' >&2\n")
    fake.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setattr(services, "STACK", tmp_path)
    services.java.cache_clear()
    services.services()
    services.java.cache_clear()
    assert (tmp_path / "asked").read_text() == "asked\n"


@pytest.fixture
def env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    monkeypatch.delenv("ROUTER_PORT", raising=False)
    return tmp_path / ".env"


@pytest.mark.parametrize("line", ["ROUTER_PORT=9999", 'ROUTER_PORT="9999"', "  ROUTER_PORT='9999'  "])
def test_a_port_may_be_quoted_as_for_compose(env_file: Path, line: str) -> None:
    env_file.write_text(f"# ports\n\n{line}\n")
    assert settings.env_file() == {"ROUTER_PORT": "9999"}


@pytest.mark.parametrize(
    "line",
    ["ROUTER_PORT=abc", "ROUTER_PORT=99999", "ROUTER_PORT=0", "ROUTER_PORT=", "ROUTER_PORT=9999 # mine", "ROUTER_PORT"],
)
def test_a_line_in_env_that_is_not_allowed_is_said(
    env_file: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    env_file.write_text(line)
    with pytest.raises(SystemExit, match="2"):
        settings.env_file()
    said = capsys.readouterr().err
    assert "ROUTER_PORT" in said and "it must be" in said and len(said.splitlines()) == 1


def test_a_port_in_the_environment_is_checked_as_well(monkeypatch: pytest.MonkeyPatch, env_file: Path) -> None:
    env_file.write_text("ROUTER_PORT=8888")
    monkeypatch.setenv("ROUTER_PORT", "abc")
    with pytest.raises(SystemExit, match="2"):
        settings.env_file()


def test_an_empty_stack_dir_is_none() -> None:
    # It would be the current folder, which `make reset` would then take for a stack's.
    said = subprocess.run(
        [sys.executable, "-c", "import settings; print(settings.STACK)"],
        cwd=ROOT / "local", env={"STACK_DIR": ""}, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert said.strip() == str(settings.LOCAL / "stack")
