"""Without Docker: the rows of the services, and what the process manager is given."""

import configparser
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from local_stack import manager, servers, services
from local_stack.errors import StackError
from local_stack.paths import DATA
from local_stack.service import Service, Setup
from repository import ROOT
from service.settings import BadSetting


def rows(**environment: str) -> dict[str, Service]:
    return services.services(environment)


Configure = Callable[..., dict[str, dict[str, str]]]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Configure:
    """Writes what the process manager is given with settings of the user's; the environment of each service."""
    monkeypatch.setattr(manager, "CONFIGURATION", tmp_path / "conf")
    monkeypatch.setattr(manager, "SERVICES", tmp_path / "services")
    monkeypatch.setattr(manager, "DATA", tmp_path / "data")

    def write(**settings: str) -> dict[str, dict[str, str]]:
        manager.write_configuration(rows(**settings))
        return {file.stem: json.loads(file.read_text())["environment"] for file in tmp_path.glob("services/*.json")}

    return write


def test_a_setting_goes_to_its_service_alone(configure: Configure) -> None:
    environments = configure(SCRIPT_DURATION="60")
    assert [name for name, given in environments.items() if "SCRIPT_DURATION" in given] == ["sensorgenerator"]


def test_a_setting_changes_the_service_for_the_process_manager(configure: Configure, tmp_path: Path) -> None:
    def digests(**settings: str) -> dict[str, str]:
        configure(**settings)
        config = configparser.ConfigParser(interpolation=None)
        config.read(tmp_path / "conf")
        return {name: config[name]["environment"] for name in config.sections() if name.startswith("program:")}

    before = digests()
    assert digests() == before
    changed = {name for name, digest in digests(NUM_ENTITIES="7").items() if digest != before[name]}
    assert changed == {"program:sensorgenerator"}


def test_every_script_finds_kafka_and_druid_of_this_mode_unless_the_user_sets_others() -> None:
    for row in rows().values():
        if row.settings:
            assert row.variables["KAFKA_BOOTSTRAP_SERVERS"] == "127.0.0.1:9092"
    assert rows()["supervisor-specs"].variables["DRUID_URL"] == "http://127.0.0.1:8888"
    ports = rows(KAFKA_PORT="1", ROUTER_PORT="2")["supervisor-specs"].variables
    assert (ports["KAFKA_BOOTSTRAP_SERVERS"], ports["DRUID_URL"]) == ("127.0.0.1:1", "http://127.0.0.1:2")
    other = services.ledger({"KAFKA_BOOTSTRAP_SERVERS": "kafka.test:1", "DRUID_URL": "http://druid.test"}).variables
    assert (other["KAFKA_BOOTSTRAP_SERVERS"], other["DRUID_URL"]) == ("kafka.test:1", "http://druid.test")


def test_the_client_properties_reach_every_client(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, configure: Configure
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "client.properties"
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    jaas = f'{module} required username="a" password="hidden";'
    file.write_text(f"security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config={jaas}\n")
    given = configure(KAFKA_CLIENT_PROPERTIES=file.name)
    of_file = {name for name, variables in given.items() if variables.get("KAFKA_CLIENT_PROPERTIES") == str(file)}
    assert of_file == {"topics", "supervisor-specs", "pyspark", "sensorgenerator"}
    of_druid = {name for name, variables in given.items() if variables.get("KAFKA_SASL_JAAS_CONFIG") == jaas}
    assert of_druid == {"coordinator", "indexer"}
    assert not {path for path in tmp_path.glob("services/*.json") if path.stat().st_mode & 0o077}

    def digests() -> dict[str, tuple[str, dict[str, str]]]:
        return {name: (row.digest(), row.variables) for name, row in rows(KAFKA_CLIENT_PROPERTIES=str(file)).items()}

    before = digests()
    file.write_text(file.read_text().replace("hidden", "other"))
    assert {name for name, digest in digests().items() if digest != before[name]} == of_file | of_druid


def test_client_properties_that_can_not_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="KAFKA_CLIENT_PROPERTIES .or kafka_client_properties. can't be used"):
        rows(KAFKA_CLIENT_PROPERTIES=str(tmp_path / "none"))


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


FOREIGN = """SPARK_HOME SPARK_CONF_DIR PYSPARK_PYTHON KAFKA_OPTS PYTHONPATH PYTHONHOME HADOOP_CONF_DIR YARN_CONF_DIR
    JAVA_TOOL_OPTIONS _JAVA_OPTIONS JDK_JAVA_OPTIONS http_proxy HTTPS_PROXY ALL_PROXY LC_CTYPE MAKEFLAGS CLASSPATH"""


def test_a_shells_settings_for_other_programs_stay_out(monkeypatch: pytest.MonkeyPatch, configure: Configure) -> None:
    foreign = {*FOREIGN.split(), "SCRIPT_DURATION"}
    for name in (*foreign, "TMPDIR"):
        monkeypatch.setenv(name, "/1")
    assert not manager.inherited().keys() & foreign
    for name, environment in configure().items():
        assert not environment.keys() & foreign, name
        assert environment["PATH"] == os.environ["PATH"]
        assert environment["TMPDIR"] == "/1"
        assert environment["LC_ALL"] == "C.UTF-8"


def test_no_configuration_of_a_server_has_a_path_that_java_would_read_otherwise() -> None:
    """Java reads a properties file as Latin-1, and Kafka takes a comma for the end of a folder's name."""
    for name in ("kafka0", "zookeeper"):
        row = rows()[name]
        (content,) = row.configuration.values()
        assert str(DATA) not in content
        folder = re.search("^(log.dirs|dataDir)=(.*)$", content, re.MULTILINE)
        assert folder
        assert row.folder / folder[2] == row.data[0]


def test_the_file_of_logging_is_named_by_a_url() -> None:
    assert servers.LOG4J_OPTION.startswith("-Dlog4j2.configurationFile=file:///")


def test_a_setup_runs_in_the_folder_and_with_the_environment_of_its_service(tmp_path: Path) -> None:
    setup = Setup(["/bin/sh", "-c", 'echo "$WORDS ${HOME-none}" > made'], tmp_path / "made")
    service(tmp_path, [], setup).run_setup({"WORDS": "given"})
    assert (tmp_path / "made").read_text() == "given none\n"


def test_a_process_that_ends_while_it_is_looked_at_holds_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended(psutil.Process):
        def children(self, recursive: bool = False) -> list[psutil.Process]:
            raise psutil.NoSuchProcess(self.pid)

    monkeypatch.setattr(psutil, "Process", Ended)
    assert manager.memory(1) == manager.memory(0) == 0


def test_derbys_password_is_generated_once_and_only_its_owner_can_read_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(servers, "DATA", tmp_path)
    servers.derby_arguments.cache_clear()
    coordinator = rows()["coordinator"]
    coordinator.prepare()
    (file,) = coordinator.configuration
    first, second = (line.rpartition("=")[2] for line in file.read_text().splitlines())
    assert first == second
    assert len(first) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert f"@{file.name}" in coordinator.command
    assert first not in " ".join(coordinator.command)
    servers.derby_arguments.cache_clear()  # the next start
    assert rows()["coordinator"].configuration == coordinator.configuration
    file.write_text("")  # a start that was cut short
    servers.derby_arguments.cache_clear()
    assert first not in "".join(rows()["coordinator"].configuration.values())


@pytest.mark.parametrize("server", ["master/coordinator-overlord", "data/indexer"])
def test_no_server_that_connects_to_kafka_runs_what_a_spec_names(server: str) -> None:
    options = (ROOT / "druid/cluster" / server / "jvm.config").read_text().splitlines()
    modules = ",".join(f"com.sun.security.auth.module.{name}LoginModule" for name in ("Jndi", "Ldap"))
    assert f"-Dorg.apache.kafka.disallowed.login.modules={modules}" in options
    assert "-Dorg.apache.kafka.automatic.config.providers=none" in options
