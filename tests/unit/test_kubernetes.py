"""kubernetes/ as text: it has the services, settings, topics and rights of the rest of the repository."""

import re
import shutil
from pathlib import Path
from typing import Any

import certifi
import pytest
import yaml
from kafka_client.client import checked_properties
from kubernetes_files import BASE, KUBERNETES, KUSTOMIZATION, OPERATORS, kustomization, objects, of_kind, pods
from kubernetes_objects import CLUSTER
from kubernetes_objects import objects as rendered
from local_stack import services
from local_stack.env_file import env_file
from repository import ROOT, job_settings
from service import contract
from windows_job.spark import JAVA_OPTIONS, LOG4J

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
SCRIPTS = {name for name, each in COMPOSE.items() if "KAFKA_BOOTSTRAP_SERVERS" in each.get("environment", {})}
PODS = dict(pods())
[SPARK] = [each["spec"] for each in of_kind("SparkApplication")]
SETTINGS = {name for row in services.services({}).values() for name in row.settings}
SETTINGS |= set(services.ledger({}).settings) | set(services.doctor({}).settings)
UNITS = {"512m": "512Mi", "2g": "2Gi"}
every_pod = pytest.mark.parametrize("name", PODS)


@pytest.mark.parametrize("folder", [BASE, OPERATORS], ids=lambda folder: folder.name)
def test_the_kustomization_lists_the_files_of_its_folder(folder: Path) -> None:
    found = kustomization(folder)
    generated = [file for each in found.get("secretGenerator", []) for file in each["files"]]
    listed = [KUSTOMIZATION, *found["resources"], *found.get("configurations", []), *generated]
    assert sorted(path.name for path in folder.iterdir()) == sorted(set(listed) - {"../base"})
    assert len(listed) == len(set(listed))


def test_every_service_of_ours_is_there() -> None:
    assert {*PODS, "pyspark"} == SCRIPTS
    images = {pod["containers"][0]["image"] for pod in PODS.values()} | {SPARK["image"]}
    assert images == {f"sensor-data/{name}" for name in SCRIPTS}
    assert {each["name"] for each in kustomization(BASE)["images"]} == images


def settings(folder: Path) -> dict[str, str]:
    [generator] = kustomization(folder)["configMapGenerator"]
    assert generator["name"] == "settings"
    return dict(literal.split("=", 1) for literal in generator["literals"])


def test_all_services_have_the_same_settings_which_are_settings() -> None:
    assert {"KAFKA_BOOTSTRAP_SERVERS", "DRUID_URL"} <= set(settings(BASE)) <= SETTINGS
    assert set(settings(OPERATORS)) <= SETTINGS
    reference = [{"configMapRef": {"name": "settings"}}]
    assert SPARK["driver"]["envFrom"] == reference
    assert all(pod["containers"][0]["envFrom"] == reference for pod in PODS.values())


@every_pod
def test_a_pod_has_no_more_rights_than_its_container_with_docker(name: str) -> None:
    pod, compose = PODS[name], COMPOSE[name]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 10001
    assert pod["automountServiceAccountToken"] is False
    security = container["securityContext"]
    assert security["capabilities"]["drop"] == compose["cap_drop"]
    assert security["readOnlyRootFilesystem"] is compose["read_only"]
    assert security["allowPrivilegeEscalation"] is False
    limit = env_file({})[compose["mem_limit"].removeprefix("${").removesuffix("}")]
    assert container["resources"]["limits"]["memory"] == UNITS[limit]


@every_pod
def test_what_a_service_writes_is_in_a_volume(name: str) -> None:
    mounts = {each["mountPath"]: each["name"] for each in PODS[name]["containers"][0]["volumeMounts"]}
    volumes = {volume.split(":")[1] for volume in COMPOSE[name]["volumes"]} | set(COMPOSE[name]["tmpfs"])
    assert mounts.keys() == volumes
    assert set(mounts.values()) == {volume["name"] for volume in PODS[name]["volumes"]}


def test_the_driver_has_what_the_job_would_set_itself() -> None:
    driver, constants = SPARK["driver"], job_settings()
    log4j = f"-Dlog4j2.configurationFile=file:///app/{LOG4J.relative_to(ROOT)}"
    assert driver["javaOptions"] == f"{JAVA_OPTIONS} {log4j}"
    assert driver["memory"] == constants.spark_driver_memory
    whole = sum(int(driver[each].removesuffix("m")) for each in ("memory", "memoryOverhead"))
    assert f"{whole}m" == env_file({})["PYSPARK_MEMORY"]
    # docs/operations.md: at least one shuffle partition for each core of the executors
    assert SPARK["executor"]["instances"] * SPARK["executor"]["cores"] <= constants.shuffle_partitions
    pinned = re.search(r"^pyspark(?:\[.*\])?==(\S+)", (ROOT / "pyspark/requirements.txt").read_text(), re.MULTILINE)
    assert pinned and SPARK["sparkVersion"] == pinned[1]


def test_checkpoint_and_state_file_are_in_the_volume_of_driver_executors_and_doctor() -> None:
    constants, mount = job_settings(), {"name": "windows-job", "mountPath": "/var/lib/sensor-data"}
    for path in (constants.checkpoint_location, constants.windows_job_state_file):
        assert path.startswith(f"{mount['mountPath']}/")
    assert mount in SPARK["driver"]["volumeMounts"]
    assert SPARK["executor"]["volumeMounts"] == SPARK["driver"]["volumeMounts"]
    assert {**mount, "readOnly": True} in PODS["doctor"]["containers"][0]["volumeMounts"]


def test_topics_and_ingestion_are_those_of_the_contract() -> None:
    for name, text in rendered(OPERATORS, contract.topics()).items():
        assert (OPERATORS / name).read_text() == text, f"{name}: run `make render`"
    topics = contract.topics().values()
    assert [each["metadata"]["name"] for each in of_kind("KafkaTopic")] == [topic.name for topic in topics]
    datasources = [topic.datasource.name for topic in topics if topic.datasource]
    for name, found in zip(datasources, of_kind("DruidIngestion"), strict=True):
        spec = found["spec"]["ingestion"]["nativeSpec"]
        consumer = spec["spec"]["ioConfig"].pop("consumerProperties")
        checked_in = yaml.safe_load((ROOT / f"supervisor-specs/{name}.json").read_text())
        del checked_in["spec"]["ioConfig"]["consumerProperties"]
        assert spec == checked_in
        assert consumer["bootstrap.servers"] == settings(OPERATORS)["KAFKA_BOOTSTRAP_SERVERS"]
        assert consumer["security.protocol"] == "SASL_SSL"
        assert "sasl.jaas.config" not in consumer


def test_an_operator_does_what_a_removed_job_would_do() -> None:
    removed = [yaml.safe_load(each["patch"]) for each in kustomization(OPERATORS)["patches"]]
    jobs = {each["metadata"]["name"] for each in objects(BASE) if each["kind"] == "Job"}
    assert {each["metadata"]["name"] for each in removed if each["$patch"] == "delete"} == jobs
    assert jobs == {"topics", "supervisor-specs"}


def test_all_clients_can_follow_the_client_properties(tmp_path: Path) -> None:
    folder = "/etc/kafka-client"
    text = (OPERATORS / "client.properties").read_text()
    assert settings(OPERATORS)["KAFKA_CLIENT_PROPERTIES"] == f"{folder}/client.properties"
    (tmp_path / "client.properties").write_text(text.replace(folder, str(tmp_path)))
    shutil.copy(certifi.where(), tmp_path / "ca.crt")
    module = "org.apache.kafka.common.security.scram.ScramLoginModule"
    (tmp_path / "sasl.jaas.config").write_text(f'{module} required username="pyspark" password="secret";')
    found = checked_properties(tmp_path / "client.properties")
    assert found.get("sasl.jaas.config").startswith(module)
    projected = [pod["volumes"] for pod in PODS.values()] + [SPARK["volumes"]]
    for name, volumes in zip([*PODS, "pyspark"], projected, strict=True):
        [sources] = [each["projected"]["sources"] for each in volumes if each["name"] == "kafka-client"]
        secrets = [source["secret"] for source in sources]
        # Strimzi names them after the user and the cluster; without Strimzi, there are none.
        assert [each["name"] for each in secrets] == ["kafka-client", name, f"{CLUSTER}-cluster-ca-cert"]
        assert all(each["optional"] for each in secrets)


# The services in the table of docs/operations.md
USERS = {
    "generator": "sensorgenerator",
    "windows job": "pyspark",
    "Druid's Overlord and tasks": "supervisor-specs",  # whose properties the registration writes into the specs
    "ledger": "verify",
    "doctor": "doctor",
}
Right = tuple[str, str, str]


def documented_rights() -> dict[str, set[Right]]:
    """The rights by user, as (kind of resource, name, operation), from the table in docs/operations.md."""
    page = (ROOT / "docs/operations.md").read_text()
    table = page.partition("\n## Kafka ACLs\n")[2].partition("\n## ")[0]
    topics, rights, service = [topic.name for topic in contract.topics().values()], dict[str, set[Right]](), ""
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 3:
            continue
        service = cells[0] or service
        if service not in USERS:
            continue
        named = re.findall("`(.*?)`", cells[1])
        kind = next(each for each in ("topic", "group", "transactional id") if each in cells[1])
        if cells[1].startswith("all topics"):
            named = [name for name in topics if name not in named]
        operations = re.findall("`(.*?)`", cells[2])
        rights.setdefault(USERS[service], set()).update(
            (kind, name, operation) for name in named or ["*"] for operation in operations
        )
    return rights


def test_the_users_have_the_least_rights_that_the_documentation_lists() -> None:
    found: dict[str, set[Right]] = {}
    for user in of_kind("KafkaUser"):
        assert user["metadata"]["labels"] == {"strimzi.io/cluster": CLUSTER}
        rights = found.setdefault(user["metadata"]["name"], set())
        for acl in user["spec"]["authorization"]["acls"]:
            kind = {"transactionalId": "transactional id"}.get(acl["resource"]["type"], acl["resource"]["type"])
            rights.update((kind, acl["resource"]["name"], in_capitals(each)) for each in acl["operations"])
    assert found == documented_rights()


def in_capitals(operation: str) -> str:
    """DescribeConfigs as Kafka's tools write it: DESCRIBE_CONFIGS."""
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", operation).upper()


def test_there_is_no_secret() -> None:
    for path in KUBERNETES.rglob("*.*"):
        for line in path.read_text().splitlines():
            assert "password=" not in line.lower(), (path, line)
