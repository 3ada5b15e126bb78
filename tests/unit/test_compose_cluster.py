"""docker-compose.cluster.yml, as text: what it changes of docker-compose.yml. `make up CLUSTER=1` has the same."""

import re
from typing import Any

import pytest
import yaml
from local_stack.env_file import env_file
from local_stack.services import services
from repository import ROOT
from service import contract


class Loader(yaml.SafeLoader):
    """Knows Compose's !override."""


Loader.add_constructor("!override", lambda loader, node: loader.construct_sequence(node))

BASE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
CLUSTER: dict[str, Any] = yaml.load((ROOT / "docker-compose.cluster.yml").read_text(), Loader)
SERVICES: dict[str, dict[str, Any]] = CLUSTER["services"]
BROKERS = ["kafka0", "kafka1", "kafka2"]
SPARK = ["spark-master", "spark-worker0", "spark-worker1"]
SCRIPTS = {name for name, each in BASE["services"].items() if "KAFKA_BOOTSTRAP_SERVERS" in each.get("environment", {})}
ROWS = services({"CLUSTER": "1"})
# None of these gives a container more rights, or takes its bounds away.
CHANGED = {"extends", "command", "environment", "ports", "volumes", "depends_on", "healthcheck", "mem_limit", "deploy"}


def base(name: str) -> dict[str, Any]:
    """The service of docker-compose.yml that a service is or extends."""
    extended = SERVICES[name].get("extends", {"service": name})
    assert set(extended) == {"service"} or extended["file"] == "docker-compose.yml"
    return dict(BASE["services"][extended["service"]])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_keeps_the_limits_of_the_one_that_it_is_or_extends(name: str) -> None:
    service = SERVICES[name]
    assert set(service) <= CHANGED
    assert ("extends" in service) == (name not in BASE["services"])
    assert service.get("mem_limit", "${").startswith("${")
    assert all(port.startswith("127.0.0.1:${") for port in service.get("ports", []))
    assert all(volume.partition(":")[0] in CLUSTER["volumes"] for volume in service.get("volumes", []))
    assert all(how == {"condition": "service_healthy"} for how in service.get("depends_on", {}).values())
    assert set(service.get("depends_on", {})) <= set(SERVICES)
    assert set(service.get("healthcheck", {})) <= {"test"}
    assert "restart" in base(name) or name in SCRIPTS


def test_each_broker_is_one_of_the_three_controllers_and_has_a_log_of_its_own() -> None:
    ids, hosts = {}, set()
    for name in BROKERS:
        environment = base(name)["environment"] | SERVICES[name]["environment"]
        ids[environment["KAFKA_NODE_ID"]] = name
        assert environment["KAFKA_LISTENERS"] == "PLAINTEXT://:29092,HOST://:9092,CONTROLLER://:9093"
        port = re.fullmatch(
            rf"PLAINTEXT://{name}:29092,HOST://localhost:\$\{{(KAFKA\d?_PORT)}}",
            environment["KAFKA_ADVERTISED_LISTENERS"],
        )
        assert port and SERVICES[name].get("ports", base(name)["ports"]) == [f"127.0.0.1:${{{port[1]}}}:9092"]
        hosts.add(port[1])
        [volume] = SERVICES[name].get("volumes", base(name)["volumes"])
        assert volume == f"{'kafka' if name == 'kafka0' else name}:/var/lib/kafka/data"
        assert SERVICES[name]["command"] == SERVICES["kafka0"]["command"]
    voters = ",".join(f"{number}@{name}:9093" for number, name in sorted(ids.items()))
    assert {SERVICES[name]["environment"]["KAFKA_CONTROLLER_QUORUM_VOTERS"] for name in BROKERS} == {voters}
    assert len(hosts) == len(ids) == 3


def test_both_modes_put_the_settings_of_three_brokers_behind_those_of_one() -> None:
    text = (ROOT / "kafka/cluster.properties").read_text()
    values = dict(re.findall(r"^([\w.]+)=(\d)$", text, re.MULTILINE))
    assert set(values.values()) == {"2", "3"}
    assert {name for name, value in values.items() if value == "2"} == {
        name for name in values if name.endswith((".min.isr", "min.insync.replicas"))
    }
    one = (ROOT / "kafka/server.properties").read_text()
    assert all(f"\n{name}=1\n" in one for name in values if name != "min.insync.replicas")
    assert "cat /etc/sensor-data/server.properties /etc/sensor-data/cluster.properties >" in str(
        SERVICES["kafka0"]["command"]
    )
    for number, name in enumerate(BROKERS):
        [configuration] = ROWS[name].configuration.values()
        assert configuration.startswith(one + text)
        assert f"\nnode.id={number + 1}\n" in configuration
    assert len({row.data[0] for row in map(ROWS.get, BROKERS) if row}) == 3


def test_every_client_knows_all_brokers_and_topics_have_as_many_copies() -> None:
    all_of_them = ",".join(f"{name}:29092" for name in BROKERS)
    assert {
        name for name, each in SERVICES.items() if "KAFKA_BOOTSTRAP_SERVERS" in each.get("environment", {})
    } == SCRIPTS
    assert {SERVICES[name]["environment"]["KAFKA_BOOTSTRAP_SERVERS"] for name in SCRIPTS} == {all_of_them}
    assert SERVICES["topics"]["environment"]["REPLICATION_FACTOR"] == "-1"
    assert {"kafka1", "kafka2"} == set(SERVICES["topics"]["depends_on"])
    own = {name: row.variables for name, row in ROWS.items()}
    assert own["topics"]["REPLICATION_FACTOR"] == "-1"
    assert {own[name]["KAFKA_BOOTSTRAP_SERVERS"] for name in SCRIPTS if name in own} == {
        "127.0.0.1:9092,127.0.0.1:9094,127.0.0.1:9095"
    }


def test_driver_master_and_workers_see_the_checkpoint_and_the_same_settings() -> None:
    for name in [*SPARK, "pyspark"]:
        assert base(name)["volumes"][0] == "checkpoint:/var/lib/sensor-data"
        assert SERVICES[name]["environment"]["SPARK_CONF_DIR"] == "/app/pyspark/cluster"
    settings = dict(
        re.findall(r"^(spark\.\S+) +(.*)$", (ROOT / "pyspark/cluster/spark-defaults.conf").read_text(), re.MULTILINE)
    )
    assert settings["spark.deploy.recoveryDirectory"].startswith("/var/lib/sensor-data/")
    assert (settings["spark.executor.cores"], settings["spark.executor.memory"]) == ("1", "512m")
    assert "/app/pyspark/log4j2.properties" in settings["spark.executor.extraJavaOptions"]
    assert SERVICES["pyspark"]["environment"]["SPARK_MASTER"] == "spark://spark-master:7077"
    assert set(SERVICES["pyspark"]["depends_on"]) == set(SPARK[1:])
    for name in SPARK:
        [configuration] = ROWS[name].configuration.values()
        own = dict(line.partition(" ")[::2] for line in configuration.splitlines() if line.startswith("spark."))
        assert own["spark.authenticate"] == "true"
        connector = (ROOT / "pyspark/connector.pom.xml").read_text()
        assert f"spark-sql-kafka-0-10_{ROWS[name].variables['SPARK_SCALA_VERSION']}<" in connector
        assert len(own["spark.authenticate.secret"]) == 32
        assert own["spark.deploy.recoveryDirectory"] != settings["spark.deploy.recoveryDirectory"]
        in_compose = str(SERVICES[name]["command"]).replace("'", "").replace(",", "")
        for option in ("--cores", "--memory"):
            given = ROWS[name].command
            if option in given:
                assert f"{option} {given[given.index(option) + 1]}" in in_compose
    assert ROWS["pyspark"].variables["SPARK_MASTER"] == "spark://127.0.0.1:7077"
    [path] = ROWS["spark-master"].configuration
    assert ROWS["pyspark"].variables["SPARK_CONF_DIR"] == str(path.parent)


@pytest.mark.parametrize(
    ("name", "variable", "file"),
    [
        ("historical1", "druid_segmentCache_locations", "data/historical"),
        ("indexer1", "druid_indexer_task_baseTaskDir", "data/indexer"),
    ],
)
def test_a_second_server_of_druid_has_its_own_name_and_folder(name: str, variable: str, file: str) -> None:
    environment = SERVICES[name]["environment"]
    assert environment["druid_host"] == name
    text = (ROOT / f"druid/cluster/{file}/runtime.properties").read_text()
    [used] = re.findall(rf"^{variable.replace('_', '.')}=(.*)$", text, re.MULTILINE)
    assert environment[variable] == used.replace("segment-cache", "segment-cache1").replace("task", "task1")


def test_two_indexers_have_the_slots_for_tasks_in_two_copies() -> None:
    replicas = int(SERVICES["supervisor-specs"]["environment"]["DRUID_REPLICAS"])
    text = (ROOT / "druid/cluster/data/indexer/runtime.properties").read_text()
    [capacity] = re.findall(r"^druid\.worker\.capacity=(\d+)$", text, re.MULTILINE)
    indexers = [name for name in BASE["services"] | SERVICES if name.startswith("indexer")]
    datasources = [topic for topic in contract.topics().values() if topic.datasource]
    assert replicas == len(indexers) == 2
    assert 2 * int(capacity) >= 2 * replicas * len(datasources) + 1  # reading, publishing, compaction


def test_generators_share_the_fleet_and_the_project_is_another_one() -> None:
    assert SERVICES["sensorgenerator"]["deploy"] == {"replicas": 2}
    assert CLUSTER["name"] not in (BASE["name"], "sensor-data-external")
    assert set(CLUSTER["volumes"]) == {"kafka1", "kafka2"}


def test_without_docker_a_cluster_has_the_same_brokers_and_the_same_spark() -> None:
    added = set(ROWS) - set(services({}))
    assert added == {"kafka1", "kafka2", *SPARK}
    assert added == set(SERVICES) - set(BASE["services"]) - {"historical1", "indexer1"}
    ports = {name: port for name in (*BROKERS, *SPARK) for name, port in ROWS[name].ports.items()}
    assert {f"{name}={port}" for name, port in ports.items()} == {f"{name}={env_file({})[name]}" for name in ports}
    assert len(ports) == 9
