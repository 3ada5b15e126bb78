"""docker-compose.external.yml, brought up for real: our services on the Kafka and the Druid of another project."""

import os
from collections.abc import Iterator

import pytest
from compose import ONE_SHOTS, Compose, copy_of_the_checkout, need_docker
from pipeline import RAW, WATERMARK_SECONDS, WINDOW_SECONDS, assert_every_window_is_right, sql

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]
PORTS = {"ROUTER_PORT": "28888", "KAFKA_PORT": "29092"}
ROUTER, KAFKA = "http://127.0.0.1:28888", "127.0.0.1:29092"
SERVERS = ["kafka0", "coordinator", "broker", "historical", "indexer", "router"]  # and what these depend on
# The servers' network, by which their names are known
NETWORK = """
networks:
  default: !override {external: true, name: sensors-e2e-servers_default}
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """Kafka and Druid without our services."""
    need_docker()
    folder = tmp_path_factory.mktemp("servers") / "checkout"
    copy_of_the_checkout(folder)
    environment = {**os.environ, **PORTS, "COMPOSE_PROJECT_NAME": "sensors-e2e-servers"}
    with Compose(folder, environment).running(*SERVERS) as running:
        yield running


@pytest.fixture(scope="module")
def external(servers: Compose) -> Iterator[Compose]:
    """Our services, in a project of their own, with the checkout that the servers have."""
    (servers.folder / "network.yml").write_text(NETWORK)
    environment = {
        **os.environ,
        "COMPOSE_FILE": "docker-compose.yml:docker-compose.external.yml:network.yml",
        "KAFKA_BOOTSTRAP_SERVERS": "kafka0:29092",
        "DRUID_URL": "http://router:8888",
        "SCRIPT_DURATION": "30",
        "WINDOW_DURATION": f"{WINDOW_SECONDS} seconds",
        "WATERMARK_DURATION": f"{WATERMARK_SECONDS} seconds",
    }
    with Compose(servers.folder, environment).running() as running:
        yield running


def test_only_our_own_services_run_and_the_ledger_closes(external: Compose) -> None:
    assert external.services().keys() == {*ONE_SHOTS, "pyspark"}
    acknowledged = external.acknowledged()
    figures = external.closed()
    assert figures["records"] == figures["druid"]["readings"] == acknowledged > 0
    assert_every_window_is_right(KAFKA, ROUTER, least=50)
    external.assert_doctor_finds_nothing()


def test_down_leaves_the_servers_and_their_data(external: Compose, servers: Compose) -> None:
    before = sql(ROUTER, f'SELECT COUNT(*) AS n FROM "{RAW}"')
    assert external("down", "--volumes").returncode == 0
    assert sql(ROUTER, f'SELECT COUNT(*) AS n FROM "{RAW}"') == before
    assert servers.services().keys() >= set(SERVERS)
