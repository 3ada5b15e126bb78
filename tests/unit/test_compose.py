"""docker-compose.yml, as text: what every service must have. That it runs is shown in tests/e2e."""

import re
from typing import Any

import pytest
import yaml
from repository import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOTS = {"topics", "sensorgenerator", "supervisor-specs", "verify"}
every_service = pytest.mark.parametrize("name", SERVICES)


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
    assert service.get("read_only") or "build" not in service


@every_service
def test_it_is_pinned_bounded_and_watched(name: str) -> None:
    service = SERVICES[name]
    assert service["mem_limit"].startswith("${")
    assert service.get("image", "${").startswith("${")
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


def test_there_is_no_password() -> None:
    for path in (".env", "docker-compose.yml", "druid/cluster/_common/common.runtime.properties"):
        for line in (ROOT / path).read_text().lower().splitlines():
            if "password" in line and not line.lstrip().startswith("#"):
                assert "hiddenproperties" in line, line


def test_old_engines_know_all_that_the_compose_file_and_the_dockerfiles_use() -> None:
    for path in (ROOT / "docker-compose.yml", *ROOT.glob("*/Dockerfile")):
        text = path.read_text()
        assert "start_interval" not in text
        assert "<<EOF" not in text.replace(" ", "")


def test_the_build_context_leaves_out_what_no_image_needs() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = {
        name for path in ROOT.glob("*/Dockerfile") for name in re.findall(r"^COPY ([\w-]+)", path.read_text(), re.M)
    }
    assert copied & {"schemas", "common"}
    assert not copied & set(ignored)
    for path in ROOT.iterdir():
        if path.is_dir() and path.name not in copied:
            assert path.name in ignored or path.name.startswith("."), f"{path.name} belongs in .dockerignore"
