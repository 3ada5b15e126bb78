"""docker-compose.yml, as text: what every service must have. That it runs is shown in tests/e2e."""

import re
from typing import Any

import pytest
import yaml
from kafka_client.client import druid_variable
from kafka_client.properties import SECRET
from local_stack.env_file import env_file
from repository import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOTS = {"topics", "sensorgenerator", "supervisor-specs", "verify", "doctor"}
DOCKERFILES = {path.parent.name: path.read_text() for path in ROOT.glob("*/Dockerfile")}
DRUID_ENVIRONMENT = (ROOT / env_file({})["DRUID_ENVIRONMENT_FILE"]).read_text()
COPIED = r"^COPY (?:--chmod=755 )?((?!--)[\w-]+)"
SCRIPTS = {"topics", "sensorgenerator", "pyspark", "supervisor-specs", "verify", "doctor"}
every_service = pytest.mark.parametrize("name", SERVICES)


def dockerfile(service: dict[str, Any]) -> str:
    """The text of the Dockerfile of a service; empty for one that runs an image as it is."""
    build = service.get("build", {})
    return str(build.get("dockerfile_inline") or DOCKERFILES.get(build.get("dockerfile", "").partition("/")[0], ""))


@every_service
def test_ports_are_on_this_machine_only_and_changeable(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:${")


@every_service
def test_it_has_no_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service and "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"]
    assert service["pids_limit"] <= 1024
    assert set(service.get("networks", ["default"])) <= {"default", "metadata", "ports"}
    assert ("ports" in service.get("networks", [])) == ("ports" in service)


@every_service
def test_it_is_pinned_bounded_and_watched(name: str) -> None:
    service = SERVICES[name]
    assert service["mem_limit"].startswith("${")
    assert service["logging"]["options"] == {"max-size": "${CONTAINER_LOG_SIZE}", "max-file": "3"}
    assert service.get("image", "${").startswith("${")
    for image in re.findall("^FROM (.*)$", dockerfile(service), re.MULTILINE):
        assert image.startswith("${")
    assert ("healthcheck" in service) == (name not in ONE_SHOTS)
    if name not in ONE_SHOTS:
        assert service["restart"] == "unless-stopped"


@every_service
def test_it_waits_for_conditions_of_services_that_exist(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        expected = "service_completed_successfully" if other in ONE_SHOTS else "service_healthy"
        assert how["condition"] == expected


def test_no_service_writes_before_the_topics_exist() -> None:
    for name in ("sensorgenerator", "pyspark", "supervisor-specs"):
        assert "topics" in SERVICES[name]["depends_on"]


def test_what_must_survive_is_in_named_volumes() -> None:
    named = set(COMPOSE["volumes"])
    for name in ("kafka0", "pyspark", "sensorgenerator", "zookeeper", "postgres", "indexer", "historical"):
        mounted = {volume.split(":")[0] for volume in SERVICES[name]["volumes"]}
        assert mounted & named, name


def test_our_own_services_are_built_at_every_up() -> None:
    for name, service in SERVICES.items():
        if "build" in service:
            assert service["pull_policy"] == "build", name


def test_druids_servers_share_the_metadata_store_and_deep_storage_that_the_user_names() -> None:
    servers = {name for name, service in SERVICES.items() if "DRUID_IMAGE" in dockerfile(service)}
    assert servers == {"coordinator", "broker", "historical", "indexer", "router"}
    named = {line.partition("=")[0] for line in DRUID_ENVIRONMENT.splitlines() if line.startswith("druid_")}
    assert {"druid_extensions_loadList", "druid_metadata_storage_type"} <= named
    for name in servers:
        assert SERVICES[name]["env_file"] == ["${DRUID_ENVIRONMENT_FILE}"]
        # What is in the compose file would win over the file that the user names.
        assert not [
            each for each in SERVICES[name]["environment"] if re.match("druid_(metadata|storage|extensions)", each)
        ]


def test_there_is_no_password() -> None:
    for path in (
        ".env",
        env_file({})["DRUID_ENVIRONMENT_FILE"],
        "docker-compose.yml",
        "druid/cluster/_common/common.runtime.properties",
    ):
        for line in (ROOT / path).read_text().lower().splitlines():
            if "password" in line and not line.lstrip().startswith("#"):
                passed_through = line.endswith("_password:") or line.strip() == "druid_password_file:"
                assert "hiddenproperties" in line or passed_through, line


def test_old_engines_know_all_that_the_compose_file_and_the_dockerfiles_use() -> None:
    for text in ((ROOT / "docker-compose.yml").read_text(), *DOCKERFILES.values()):
        assert "start_interval" not in text
        assert "<<EOF" not in text.replace(" ", "")
        assert "# syntax=" not in text  # an image more to fetch, which a mirror may not have


def test_the_build_context_leaves_out_what_no_image_needs() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = {name for service in SERVICES.values() for name in re.findall(COPIED, dockerfile(service), re.MULTILINE)}
    assert {"schemas", "common", "druid"} <= copied
    assert not copied & set(ignored)
    for path in ROOT.iterdir():
        if path.is_dir() and path.name not in copied:
            assert path.name in ignored or path.name.startswith("."), f"{path.name} belongs in .dockerignore"


@every_service
def test_a_container_can_read_the_files_of_a_checkout_that_only_its_owner_can_read(name: str) -> None:
    service = SERVICES[name]
    for volume in service.get("volumes", []):
        assert not volume.startswith((".", "/")), "a file of the checkout keeps its mode when it is mounted"
    for line in re.findall(r"^COPY .*$", dockerfile(service), re.MULTILINE):
        only_root_reads_it = line.split()[-1] in ("./", "/pom.xml")
        assert line.startswith(("COPY --chmod=755 ", "COPY --from=")) or only_root_reads_it, line


def test_the_compose_project_has_a_name_whatever_the_folder_is_called() -> None:
    assert re.fullmatch("[a-z0-9][a-z0-9_-]*", COMPOSE["name"])


@every_service
def test_requests_between_containers_go_to_no_proxy(name: str) -> None:
    service = SERVICES[name]
    if "wget" in str(service.get("healthcheck")) or name in SCRIPTS:
        assert [service["environment"][f"{each}_proxy"] for each in ("http", "https", "all")] == ["", "", ""]


@pytest.mark.parametrize("name", ["kafka0", "pyspark"])
def test_the_native_libraries_of_the_codecs_can_be_loaded(name: str) -> None:
    """Java unpacks those of snappy and zstd into /tmp. Docker's default for a tmpfs is noexec."""
    assert "/tmp:exec" in SERVICES[name]["tmpfs"]


def test_the_networks_have_no_way_out() -> None:
    networks = COMPOSE["networks"]
    assert networks["metadata"]["internal"] is True
    assert networks["default"]["internal"] == "${CLOSED_NETWORK}" and env_file({})["CLOSED_NETWORK"] == "true"
    assert networks["ports"]["driver_opts"] == {"com.docker.network.bridge.enable_ip_masquerade": "false"}


def test_kafkas_clients_see_the_folder_of_their_properties() -> None:
    folder = "${KAFKA_CLIENT_FOLDER}:/etc/kafka-client:ro"
    mounted = {name for name, service in SERVICES.items() if folder in service.get("volumes", [])}
    druid = {"coordinator", "indexer"}  # which run supervisors and tasks
    assert mounted == SCRIPTS | druid
    assert env_file({})["KAFKA_CLIENT_FOLDER"] in COMPOSE["volumes"]
    secrets = {druid_variable(name) for name in SECRET}
    assert {name for name in SERVICES if secrets <= SERVICES[name].get("environment", {}).keys()} == druid
