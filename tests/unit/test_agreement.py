"""What is written in more than one place says the same everywhere."""

import json
import re
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import create_topics
import producer
import pytest
import verify
import yaml
from rooms import ROOT, windows_job

import health
import ledger
import services
import settings
from fleet import Fleet

job = windows_job()
contract = import_module("contract")  # its neighbour
RAW, AGGREGATED, REJECTED = DATASOURCES = "sensor-data-raw", "sensor-data-aggregated", "sensor-data-rejected"
SPECS = {name: json.loads((ROOT / f"supervisor-specs/{name}.json").read_text())["spec"] for name in DATASOURCES}
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def test_the_topics_are_the_same_everywhere() -> None:
    assert producer.kafka_topic == job.kafka_input_topic == ledger.RAW == RAW
    assert job.kafka_output_topic == ledger.AGGREGATED == AGGREGATED
    assert job.kafka_rejected_topic == ledger.REJECTED == REJECTED
    assert job.kafka_progress_topic == ledger.PROGRESS == health.PROGRESS
    assert health.DATASOURCES == DATASOURCES
    assert set(create_topics.topics(1, 1)) == {*DATASOURCES, job.kafka_progress_topic, job.kafka_control_topic}
    for name, spec in SPECS.items():
        assert spec["ioConfig"]["topic"] == spec["dataSchema"]["dataSource"] == name
    assert {path.stem for path in (ROOT / "supervisor-specs").glob("*.json")} == set(DATASOURCES)


def test_kafka_takes_what_the_windows_job_may_write() -> None:
    configs = create_topics.topics(1, 1)[REJECTED]["configs"]
    assert configs["max.message.bytes"] == str(sys.modules["sink"].MAX_RECORD_BYTES)


def test_druid_takes_the_same_readings_as_the_windows_job() -> None:
    conditions = SPECS[RAW]["dataSchema"]["transformSpec"]["filter"]["fields"]
    patterns = {each["dimension"]: each["pattern"] for each in conditions if each["type"] == "regex"}
    expressions = " && ".join(each["expression"] for each in conditions if each["type"] == "expression").split(" && ")
    assert set(patterns) == {"time", "entity", *contract.RANGES}
    assert patterns["time"] == contract.TIME_FORMAT
    assert f"__time >= timestamp_parse('{contract.EARLIEST_TIME}')" in expressions
    assert f'__time <= "kafka.timestamp" + {contract.CLOCK_AHEAD_SECONDS * 1000}' in expressions
    assert health.CLOCK_AHEAD_SECONDS == contract.CLOCK_AHEAD_SECONDS
    assert "entity INT" in contract.READING.split(", ")
    assert f"entity <= {2**31 - 1}" in expressions
    for name, (low, high) in contract.RANGES.items():
        # -0.0 is a number of the sensors that equals 0, but for Druid it is below 0.
        assert f"{name} >= {low or '-0.0'}" in expressions
        assert f"{name} <= {high}" in expressions


def test_the_brokers_address_is_the_same_everywhere() -> None:
    address = "kafka0:29092"
    for module in (create_topics, producer, job, verify):
        assert module.kafka_bootstrap_servers == address
    for spec in SPECS.values():
        assert spec["ioConfig"]["consumerProperties"]["bootstrap.servers"] == address
    assert f"PLAINTEXT://{address}" in COMPOSE["kafka0"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]


def columns(spec: dict[str, Any]) -> set[str]:
    schema = spec["dataSchema"]
    return {
        schema["timestampSpec"]["column"],
        *(dimension["name"] for dimension in schema["dimensionsSpec"]["dimensions"]),
    }


def test_druid_knows_every_field_of_a_reading_by_its_type() -> None:
    reading = json.loads(next(Fleet(1).records(producer.now()))[1])
    assert columns(SPECS[RAW]) == set(reading)
    druid = {str: "string", int: "long", float: "double"}
    for dimension in SPECS[RAW]["dataSchema"]["dimensionsSpec"]["dimensions"]:
        assert dimension["type"] == druid[type(reading[dimension["name"]])]


def test_the_windows_job_knows_the_shape_of_a_record_as_the_plain_one() -> None:
    assert all(
        re.match(contract.PLAIN.replace(r"\z", r"\Z"), value.decode())
        for _, value in Fleet(100).records(producer.now())
    )


def test_the_windows_job_reads_fields_that_there_are() -> None:
    fields = {field.split()[0] for field in contract.READING.split(", ")}
    assert fields <= set(json.loads(next(Fleet(1).records(producer.now()))[1]))


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_specification_keeps_every_row_and_says_what_it_could_not_parse(spec: dict[str, Any]) -> None:
    assert spec["dataSchema"]["granularitySpec"]["rollup"] is False
    assert spec["ioConfig"]["useEarliestOffset"] is True
    assert not [name for name in spec["ioConfig"] if name.endswith("MessageRejectionPeriod")]  # these drop silently
    assert spec["tuningConfig"]["logParseExceptions"] is True
    assert spec["tuningConfig"]["maxSavedParseExceptions"] > 0


def requirements(room: str) -> dict[str, str]:
    lines = (ROOT / room / "requirements.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pin) == 2 for pin in pins), f"{room}: not everything is pinned"
    return dict(pins)


def test_rooms_pin_the_same_versions() -> None:
    rooms = [path.parent.name for path in ROOT.glob("*/requirements.txt")]
    assert len(rooms) == 6
    pinned: dict[str, set[str]] = {}
    for room in rooms:
        for name, version in requirements(room).items():
            pinned.setdefault(name, set()).add(version)
    assert all(len(versions) == 1 for versions in pinned.values()), pinned
    dev = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    assert all("==" in requirement for requirement in dev)


def test_the_connector_is_of_sparks_version() -> None:
    pom = (ROOT / "pyspark/connector.pom.xml").read_text()
    assert f"<spark.version>{requirements('pyspark')['pyspark']}</spark.version>" in pom


def test_every_variable_of_the_compose_file_is_in_env_and_every_one_in_env_is_used() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    used = set(re.findall(r"\$\{(\w+)\}", text))
    there = set(settings.env_file())
    assert used <= there
    local_only = {port for service in services.services().values() for port in service.ports}
    assert there == used | local_only


def test_the_dockerfiles_default_images_are_those_in_env() -> None:
    env = settings.env_file()
    for path in ROOT.glob("*/Dockerfile"):
        for name, image in re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", path.read_text(), re.MULTILINE):
            assert image == env[name], path


def test_both_modes_have_the_same_services() -> None:
    # Without Docker, Derby runs inside the coordinator, and `make verify` runs its script itself.
    assert set(services.services()) == set(COMPOSE) - {"postgres", "verify"}


@pytest.mark.parametrize("service", services.OVERRIDES)
def test_both_modes_override_the_same_constants(service: str) -> None:
    module = {"sensorgenerator": producer, "pyspark": job}[service]
    assert COMPOSE[service]["environment"] == services.OVERRIDES[service]
    for name in services.OVERRIDES[service]:
        assert hasattr(module, name.lower()), f"{name} has no constant in {module.__file__}"


def test_both_modes_give_kafka_the_same_heap() -> None:
    local = services.services()["kafka0"].command
    for option in COMPOSE["kafka0"]["environment"]["KAFKA_HEAP_OPTS"].split():
        assert option in local


def test_kafka_gets_the_late_optimization_that_druids_servers_have() -> None:
    for server in ("query/broker", "data/historical", "data/indexer"):
        options = (ROOT / f"druid/cluster/{server}/jvm.config").read_text().split()
        assert set(services.LATE_OPTIMIZATION) <= set(options)


def readme_commands() -> list[str]:
    blocks = re.findall(r"```(?:sh|shell|bash)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


def test_the_readmes_commands_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = readme_commands()
    verbs = [command.split()[1] for command in commands if command.startswith("make ")]
    assert {"run", "test"} <= set(verbs)
    assert set(verbs) <= targets
    for command in commands:
        if command.startswith("docker compose "):
            assert command.split()[2] in {"up", "down", "logs", "ps", "run", "stop"}


def test_every_verb_has_a_line_of_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    verbs = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert verbs
    helped = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    assert helped == set(verbs[1].split()) - {"install"}


def test_the_readmes_links_lead_somewhere() -> None:
    readme = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (ROOT / target).exists(), target


def test_there_is_no_init_file_that_would_hide_pyspark() -> None:
    assert not list(Path(ROOT).glob("[a-z]*/__init__.py"))
