"""Without Docker: the rows of the services, and what the process manager is given."""

import configparser
import shutil
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from local_stack import manager, servers, services
from local_stack.errors import NotAllowed, StackError
from local_stack.service import Service, Setup
from repository import ROOT


def rows(**environment: str) -> dict[str, Service]:
    return services.services(environment)


Configure = Callable[..., configparser.ConfigParser]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Configure:
    """Writes the process manager's configuration with settings of the user's, and reads it."""
    monkeypatch.setattr(manager, "CONFIGURATION", tmp_path / "conf")

    def write(**settings: str) -> configparser.ConfigParser:
        manager.write_configuration(rows(**settings))
        config = configparser.ConfigParser(interpolation=None)
        config.read(tmp_path / "conf")
        return config

    return write


def test_a_setting_goes_to_its_service_alone(configure: Configure) -> None:
    config = configure(SCRIPT_DURATION="60")
    given = [name for name in config.sections() if 'SCRIPT_DURATION="60"' in config[name].get("environment", "")]
    assert given == ["program:sensorgenerator"]


def test_every_script_finds_kafka_and_druid_of_this_mode_unless_the_user_sets_others() -> None:
    for row in rows().values():
        if row.settings:
            assert row.variables["KAFKA_BOOTSTRAP_SERVERS"] == "127.0.0.1:9092"
    assert rows()["supervisor-specs"].variables["DRUID_URL"] == "http://127.0.0.1:8888"
    ports = rows(KAFKA_PORT="1", ROUTER_PORT="2")["supervisor-specs"].variables
    assert (ports["KAFKA_BOOTSTRAP_SERVERS"], ports["DRUID_URL"]) == ("127.0.0.1:1", "http://127.0.0.1:2")
    other = services.ledger({"KAFKA_BOOTSTRAP_SERVERS": "kafka.test:1", "DRUID_URL": "http://druid.test"}).variables
    assert other == {"KAFKA_BOOTSTRAP_SERVERS": "kafka.test:1", "DRUID_URL": "http://druid.test"}


def test_the_users_paths_win(tmp_path: Path) -> None:
    own = {name: str(tmp_path / name) for name in ("GENERATOR_STATE_FILE", "WINDOWS_JOB_STATE_FILE")}
    found = rows(**own, CHECKPOINT_LOCATION="/elsewhere")
    assert found["sensorgenerator"].state_file == tmp_path / "GENERATOR_STATE_FILE"
    assert found["pyspark"].state_file == tmp_path / "WINDOWS_JOB_STATE_FILE"
    assert found["pyspark"].variables["CHECKPOINT_LOCATION"] == "/elsewhere"


def test_every_server_listens_on_this_machine_only() -> None:
    (kafka,) = rows()["kafka0"].configuration.values()
    (zookeeper,) = rows()["zookeeper"].configuration.values()
    assert "\nlisteners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\n" in kafka
    assert "clientPortAddress=127.0.0.1" in zookeeper
    common = (ROOT / "druid/cluster/_common/common.runtime.properties").read_text()
    assert "druid.host=127.0.0.1\ndruid.bindOnHost=true" in common


SCRIPTS = {"topics", "supervisor-specs", "pyspark", "sensorgenerator"}


@pytest.mark.parametrize(
    ("edited", "restarted"),
    [
        ("kafka/server.properties", {"kafka0", "topics"}),
        (
            "druid/cluster/_common/common.runtime.properties",
            {"coordinator", "broker", "historical", "indexer", "router"},
        ),
        ("druid/cluster/query/broker/runtime.properties", {"broker"}),
        ("sensor-data-generator/generator/fleet.py", {"sensorgenerator"}),
        ("common/service/state.py", SCRIPTS),
        ("schemas/topics.json", SCRIPTS),
        ("kafka/Dockerfile", set()),
    ],
)
def test_an_edit_changes_the_services_that_are_made_of_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, edited: str, restarted: set[str]
) -> None:
    for folder in ("kafka", "druid", "sensor-data-generator", "common", "schemas"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "sensor-data-generator/.#producer.py").symlink_to("an.editors.lock")
    for module in (services, servers):
        monkeypatch.setattr(module, "ROOT", tmp_path)

    def digests() -> dict[str, str]:
        return {name: row.digest() for name, row in rows().items()}

    before = digests()
    assert digests() == before
    with (tmp_path / edited).open("a") as file:
        file.write("# edited\n")
    assert {name for name, digest in digests().items() if digest != before[name]} == restarted


def test_another_port_changes_the_service() -> None:
    before, after = rows(), rows(KAFKA_PORT="9999", ZOOKEEPER_PORT="2222")
    for name in ("kafka0", "zookeeper"):
        assert before[name].digest() != after[name].digest()


@pytest.mark.parametrize("value", ['"10 seconds"', "10\nseconds", "10 seconds # or so", "10;20"])
def test_a_setting_that_the_process_manager_could_not_read_is_refused(configure: Configure, value: str) -> None:
    with pytest.raises(NotAllowed, match="WINDOW_DURATION is .*: it must not hold") as refused:
        configure(WINDOW_DURATION=value)
    assert repr(value) in str(refused.value)


def service(folder: Path, command: list[str], setup: Setup | None = None) -> Service:
    return Service(
        "one",
        command,
        folder,
        lambda _: "well",
        data=[folder / "data/deep"],
        configuration={folder / "new/one.properties": "a=1\n"},
        setup=setup,
    )


def test_a_service_is_prepared_with_its_folders_and_its_configuration(tmp_path: Path) -> None:
    for _ in range(2):
        service(tmp_path, []).prepare()
    assert (tmp_path / "data/deep").is_dir()
    assert (tmp_path / "new/one.properties").read_text() == "a=1\n"


def test_a_setup_runs_once(tmp_path: Path) -> None:
    made = tmp_path / "made"
    one = service(tmp_path, [], Setup(["sh", "-c", f"test ! -e {made} && touch {made}"], made))
    one.run_setup()
    one.run_setup()
    assert made.exists()


def test_a_setup_that_fails_is_an_error_with_its_output(tmp_path: Path) -> None:
    one = service(tmp_path, [], Setup(["sh", "-c", "echo no space >&2; exit 1"], tmp_path / "made"))
    with pytest.raises(StackError, match="^one could not be set up: no space$"):
        one.run_setup()


def test_a_shells_settings_for_another_spark_or_kafka_stay_out(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = {"SPARK_HOME", "SPARK_CONF_DIR", "PYSPARK_PYTHON", "KAFKA_OPTS", "PYTHONPATH", "PYTHONHOME"}
    for name in (*foreign, "SCRIPT_DURATION", "PYTHONUNBUFFERED"):
        monkeypatch.setenv(name, "1")
    inherited = manager.inherited(rows())
    assert not inherited.keys() & (foreign | {"SCRIPT_DURATION"})
    assert {"PATH", "PYTHONUNBUFFERED"} <= inherited.keys()


def test_a_process_that_ends_while_it_is_looked_at_holds_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended(psutil.Process):
        def children(self, recursive: bool = False) -> list[psutil.Process]:
            raise psutil.NoSuchProcess(self.pid)

    monkeypatch.setattr(psutil, "Process", Ended)
    assert manager.memory(1) == manager.memory(0) == 0
