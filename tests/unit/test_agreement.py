"""What is written in more than one place is the same everywhere: settings, versions, images, services, commands."""

import ast
import dataclasses
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from local_stack.env_file import env_file
from local_stack.service import Service
from local_stack.services import doctor, ledger, services
from repository import ROOT, windows_job_script
from service import contract
from windows_job.spark import COMPILER, JAVA_OPTIONS

COMPOSE: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
ROWS: dict[str, Service] = {**services({"WITH_DASHBOARD": "1"}), "verify": ledger({}), "doctor": doctor({})}
SCRIPTS = {name: row for name, row in ROWS.items() if row.settings}
SETTINGS = {
    "topics": "create_topics",
    "sensorgenerator": "generator.settings",
    "pyspark": "windows_job.settings",
    "supervisor-specs": "registration.settings",
    "verify": "reconciliation.settings",
    "doctor": "diagnosis.settings",
    "dashboard": "dashboards.settings",
}
TOPIC_SETTINGS = {contract.setting(role) for role in contract.topics()}
every_script = pytest.mark.parametrize("name", SCRIPTS)


def constants(name: str) -> dict[str, Any]:
    """The constants at the top of a service's script."""
    script = windows_job_script() if name == "pyspark" else import_module(Path(ROWS[name].command[1]).stem)
    values = {each: value for each, value in vars(script).items() if isinstance(value, int | float | str)}
    return {each: value for each, value in values.items() if each.islower() and not each.startswith("_")}


def in_compose(name: str) -> dict[str, None]:
    """The settings that docker-compose.yml gives a service."""
    return {each: value for each, value in COMPOSE[name]["environment"].items() if not each.endswith("_proxy")}


@every_script
def test_a_scripts_constants_are_its_settings_and_both_modes_pass_them_through(name: str) -> None:
    fields = {field.name for field in dataclasses.fields(import_module(SETTINGS[name]).Settings)}
    assert set(constants(name)) == fields
    passed = {field.upper() for field in fields} | (TOPIC_SETTINGS if "kafka_bootstrap_servers" in fields else set())
    assert set(ROWS[name].settings) == passed
    assert set(in_compose(name)) == passed


def test_a_service_is_stopped_by_the_same_signal_in_both_modes() -> None:
    signals = {name: service.get("stop_signal", "SIGTERM") for name, service in COMPOSE.items() if name in ROWS}
    assert signals == {name: f"SIG{row.stop_signal}" for name, row in ROWS.items()}
    assert signals["indexer"] == "SIGKILL"


@every_script
def test_a_setting_that_is_not_set_leaves_the_constant(name: str) -> None:
    assert set(in_compose(name).values()) == {None}  # passed through
    addresses_and_paths = {"KAFKA_BOOTSTRAP_SERVERS", "DRUID_URL", "CHECKPOINT_LOCATION"}
    addresses_and_paths |= {"DASHBOARD_HOST", "DASHBOARD_PORT", "DASHBOARD_FOLDER"}
    addresses_and_paths |= {"GENERATOR_STATE_FILE", "WINDOWS_JOB_STATE_FILE", "LEDGER_STATE_FILE"}
    assert {each for each, value in ROWS[name].settings.items() if value is not None} <= addresses_and_paths


def test_a_constant_of_two_scripts_has_one_value() -> None:
    values: dict[str, set[Any]] = {}
    for name in SCRIPTS:
        for constant, value in constants(name).items():
            values.setdefault(constant, set()).add(value)
    assert all(len(found) == 1 for found in values.values()), values
    for role, topic in contract.topics().items():
        assert values.get(contract.setting(role).lower(), {topic.name}) == {topic.name}


def test_the_addresses_are_those_of_compose() -> None:
    found = {**constants("verify"), **constants("topics")}
    host, port = found["kafka_bootstrap_servers"].split(":")
    assert f"PLAINTEXT://{host}:{port}" in COMPOSE[host]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    router = re.fullmatch(r"http://(\w+):(\d+)", found["druid_url"])
    assert router and COMPOSE[router[1]]["ports"] == [f"127.0.0.1:${{ROUTER_PORT}}:{router[2]}"]


@pytest.mark.parametrize("name", ["pyspark", "sensorgenerator", "doctor", "verify"])
def test_a_containers_files_are_in_its_volume(name: str) -> None:
    volume, kafka_client = (each.split(":")[1] for each in COMPOSE[name]["volumes"])
    assert kafka_client == "/etc/kafka-client"
    paths = [value for each, value in constants(name).items() if value and each.endswith(("_file", "_location"))]
    assert paths and all(path.startswith(f"{volume}/") for path in paths)


def test_the_health_check_of_the_windows_job_looks_at_its_state_file() -> None:
    assert constants("pyspark")["windows_job_state_file"] in COMPOSE["pyspark"]["healthcheck"]["test"][1]


def requirements(path: str) -> dict[str, str]:
    """The pinned versions, by package."""
    pins = re.findall(r"^([\w.-]+)(?:\[.*\])?==(\S+)", (ROOT / path).read_text(), re.MULTILINE)
    assert pins
    return dict(pins)


PINNED = [*ROOT.glob("[a-z]*/requirements.txt"), *ROOT.glob("tests/*/requirements.txt"), ROOT / "requirements-dev.txt"]


def test_packages_have_the_same_version_everywhere() -> None:
    """But Superset's, which are in a virtual environment of their own."""
    pinned: dict[str, set[str]] = {}
    for path in set(PINNED) - {ROOT / "superset/requirements.txt"}:
        for name, version in requirements(str(path.relative_to(ROOT))).items():
            pinned.setdefault(name, set()).add(version)
    assert all(len(versions) == 1 for versions in pinned.values()), pinned


def test_what_is_asked_for_is_what_is_pinned() -> None:
    files = [*ROOT.glob("[a-z]*/requirements.in"), *ROOT.glob("tests/*/requirements.in"), ROOT / "requirements-dev.in"]
    assert len(files) == len(PINNED)
    for path in files:
        wanted = requirements(str(path.relative_to(ROOT)))
        lower = {name.lower(): version for name, version in wanted.items()}
        pinned = requirements(str(path.with_suffix(".txt").relative_to(ROOT)))
        assert lower.items() <= pinned.items(), f"{path}: run `make requirements`"


def test_the_connector_is_of_sparks_version() -> None:
    pom = (ROOT / "pyspark/connector.pom.xml").read_text()
    assert f"<spark.version>{requirements('pyspark/requirements.txt')['pyspark']}</spark.version>" in pom


def test_every_variable_of_the_compose_file_is_in_env_and_every_one_in_env_is_used() -> None:
    texts = (path.read_text() for path in ROOT.glob("docker-compose*.yml"))
    used = {name for text in texts for name in re.findall(r"(?<!\$)\$\{(\w+)\}", text)}
    there = {name for name in env_file({}) if not name.startswith("COMPOSE_")}  # for Compose itself
    assert used <= there
    assert there == used | {port for row in services({"CLUSTER": "1"}).values() for port in row.ports}


def test_the_dockerfiles_default_images_are_those_in_env() -> None:
    env = env_file({})
    for path in ROOT.glob("*/Dockerfile"):
        for name, image in re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", path.read_text(), re.MULTILINE):
            assert image == env[name], path


def test_both_modes_have_the_same_services() -> None:
    # Without Docker, Derby runs inside the coordinator.
    assert set(ROWS) == set(COMPOSE) - {"postgres"}


@every_script
def test_both_modes_run_the_same_script(name: str) -> None:
    build, script = COMPOSE[name]["build"], SCRIPTS[name].command[1]
    assert build["context"] == "."
    folder = build["dockerfile"].partition("/")[0]
    command = re.findall(r'^CMD \["python", "(.*)"\]$', (ROOT / build["dockerfile"]).read_text(), re.MULTILINE)
    assert command == [script.removeprefix(f"{ROOT}/")]
    assert command[0].startswith(f"{folder}/")


def test_both_modes_agree_on_what_ends_by_itself() -> None:
    for name, row in ROWS.items():
        assert row.one_shot is ("restart" not in COMPOSE[name]), name


def test_both_modes_give_kafka_the_same_heap() -> None:
    for option in COMPOSE["kafka0"]["environment"]["KAFKA_HEAP_OPTS"].split():
        assert option in ROWS["kafka0"].command


def test_both_modes_bound_kafkas_log() -> None:
    assert COMPOSE["kafka0"]["environment"]["KAFKA_LOG_RETENTION_BYTES"] == "${KAFKA_RETENTION_BYTES}"
    [configuration] = ROWS["kafka0"].configuration.values()
    assert f"\nlog.retention.bytes={env_file({})['KAFKA_RETENTION_BYTES']}\n" in configuration


def test_kafka_flushes_what_the_job_writes_and_not_what_the_fleet_sends() -> None:
    [configuration] = ROWS["kafka0"].configuration.values()
    assert "\nlog.flush.interval.messages=1\n" in configuration
    own = {
        role: topic.config["flush.messages"]
        for role, topic in contract.topics().items()
        if "flush.messages" in topic.config
    }
    assert own == {"raw": str(2**63 - 1)}  # Kafka's default: it leaves that to the operating system


def test_kafka_and_spark_get_the_late_optimization_that_druids_servers_have() -> None:
    options = [option for option in ROWS["kafka0"].command if option.startswith("-XX:Tier4")]
    assert options
    for server in ("broker", "historical", "indexer"):
        assert set(options) <= set(ROWS[server].command)
    assert set(options) <= set(COMPILER.split())


def test_spark_on_kubernetes_gets_the_same_java_options() -> None:
    spec = next(yaml.safe_load_all((ROOT / "kubernetes/base/pyspark.yaml").read_text()))["spec"]
    assert spec["driver"]["javaOptions"].startswith(JAVA_OPTIONS)
    assert spec["sparkConf"]["spark.driver.defaultJavaOptions"] == COMPILER


def readme_commands() -> list[str]:
    blocks = re.findall(r"```(?:sh|shell|bash)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


def test_the_readmes_commands_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = readme_commands()
    verbs = [command.split()[1] for command in commands if command.startswith("make ")]
    assert {"run", "test"} <= set(verbs)
    assert set(verbs) <= targets
    for command in commands:
        if command.startswith("docker compose "):
            words = command.removeprefix("docker compose ").removeprefix("--profile dashboards ").split()
            assert words[0] in {"up", "down", "logs", "ps", "run", "stop"}


def test_every_verb_has_a_line_of_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    verbs = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)$", makefile, re.MULTILINE)
    assert verbs
    assert re.findall(r"^([a-z0-9-]+):.*## \S", makefile, re.MULTILINE) == verbs[1].replace("\\\n", "").split()


def test_the_readmes_links_lead_somewhere() -> None:
    for readme in (ROOT / "README.md", *ROOT.glob("*/README.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", readme.read_text()):
            assert (readme.parent / target).exists(), f"{readme}: {target}"


def test_there_is_no_init_file_that_would_hide_pyspark() -> None:
    assert not list(ROOT.glob("[a-z]*/__init__.py"))


SERVICES = ["kafka", "sensor-data-generator", "pyspark", "supervisor-specs", "ledger", "doctor", "superset"]


def modules(folder: str) -> set[str]:
    """The names under which a folder's scripts and packages are imported; pyspark.py is never imported."""
    scripts = {path.stem for path in (ROOT / folder).glob("*.py")} - {"pyspark"}
    return scripts | {path.parent.name for path in (ROOT / folder).glob("*/__init__.py")}


@pytest.mark.parametrize("folder", [*SERVICES, "common"])
def test_no_service_imports_a_module_of_another_service(folder: str) -> None:
    others = set().union(*(modules(other) for other in [*SERVICES, "local"] if other != folder))
    for path in (ROOT / folder).rglob("*.py"):
        tree = ast.parse(path.read_text())
        names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert not {name.partition(".")[0] for name in names} & others, path


def test_private_interfaces_of_libraries_stand_in_one_module_each() -> None:
    private = {
        "sensor-data-generator/generator/membership.py": r"\._coordinator\b",
        "common/kafka_batches/accumulator.py": r"\._(accumulator|transaction_manager|sender|tp_lock|incomplete)\b",
        "pyspark/windows_job/spark_internals.py": r"\._(jsq|jdf|jvm|gateway|sc)\b|lastExecution",
    }
    for folder in [*SERVICES, "common", "local"]:
        for path in (ROOT / folder).rglob("*.py"):
            for module, pattern in private.items():
                found = re.search(pattern, path.read_text())
                assert bool(found) == (path == ROOT / module), (path, found)
