"""docker-compose.external.yml, as text: our services of docker-compose.yml and no others, on servers that exist."""

from typing import Any

import pytest
import yaml
from repository import ROOT

BASE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
EXTERNAL: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.external.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = EXTERNAL["services"]
SCRIPTS = {name for name, each in BASE["services"].items() if "KAFKA_BOOTSTRAP_SERVERS" in each.get("environment", {})}
CLIENTS = {name for name, each in BASE["services"].items() if "DRUID_URL" in each.get("environment", {})}
OURS = SCRIPTS | CLIENTS


def test_every_service_is_either_ours_or_not_started() -> None:
    assert {"topics", "sensorgenerator", "pyspark", "supervisor-specs", "verify", "doctor"} == SCRIPTS
    assert {"supervisor-specs", "verify", "doctor", "dashboard"} == CLIENTS
    assert set(SERVICES) == set(BASE["services"])
    not_started = {name for name, service in SERVICES.items() if service == {"profiles": ["own-servers"]}}
    assert not_started == set(BASE["services"]) - OURS
    used = {profile for name in OURS for profile in BASE["services"][name].get("profiles", [])}
    assert "own-servers" not in used


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_service_differs_only_in_its_addresses_and_what_it_waits_for(name: str) -> None:
    assert set(SERVICES[name]) <= {"environment", "secrets", "depends_on"}
    changed = {"KAFKA_BOOTSTRAP_SERVERS"} if name in SCRIPTS else set()
    if name in CLIENTS:
        changed |= {"DRUID_URL", "DRUID_PASSWORD_FILE", "DRUID_CA_FILE"}
    assert set(SERVICES[name]["environment"]) == changed <= set(BASE["services"][name]["environment"])


@pytest.mark.parametrize("name", sorted(OURS))
def test_nothing_waits_for_a_server_that_is_not_started(name: str) -> None:
    waits_for = BASE["services"][name].get("depends_on", {})
    wanted = {other: {**how, "required": False} for other, how in waits_for.items() if other not in SCRIPTS}
    assert SERVICES[name].get("depends_on", {}) == wanted


def test_the_addresses_must_be_set_and_files_are_secrets() -> None:
    for name in SCRIPTS:
        servers = SERVICES[name]["environment"]["KAFKA_BOOTSTRAP_SERVERS"]
        assert servers.startswith("${KAFKA_BOOTSTRAP_SERVERS:?must be ")
    for name in CLIENTS:
        assert SERVICES[name]["environment"]["DRUID_URL"].startswith("${DRUID_URL:?must be ")
    for setting, secret in (("DRUID_PASSWORD_FILE", "druid-password"), ("DRUID_CA_FILE", "druid-ca")):
        assert EXTERNAL["secrets"][secret] == {"file": f"${{{setting}:-/dev/null}}"}
        for name in CLIENTS:
            assert SERVICES[name]["environment"][setting] == f"${{{setting}:+/run/secrets/{secret}}}"
            assert secret in SERVICES[name]["secrets"]


def test_it_is_another_project_whose_containers_reach_other_machines() -> None:
    assert EXTERNAL["name"] != BASE["name"]
    assert EXTERNAL["networks"] == {"default": {"internal": False}}
    assert "volumes" not in EXTERNAL
