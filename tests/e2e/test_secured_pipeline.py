"""The whole pipeline against a Kafka with TLS, a login and ACLs: the ledger closes, and no password is shown."""

from collections.abc import Iterator

import psutil
import pytest
import requests
from kafka import TopicPartition
from kafka.admin import ResourceType
from pipeline import FOLDER, PORTS, Pipeline, assert_every_window_is_right, new_pipeline, poll_until
from secured_kafka import Broker, scram
from service import contract

pytestmark = pytest.mark.timeout(900)

GROUP, PASSWORD = "sensor-data-windows-job", "not-to-be-shown"
PROVIDER = "org.apache.kafka.common.config.provider.DirectoryConfigProvider"
TOPICS = {role: topic.name for role, topic in contract.topics().items()}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    made = Broker(tmp_path_factory.mktemp("secured-kafka"))
    try:
        made.start()
        made.add_user(
            "pipeline",
            *((ResourceType.TOPIC, name, "CREATE READ WRITE DESCRIBE_CONFIGS") for name in TOPICS.values()),
            (ResourceType.TRANSACTIONAL_ID, f"{TOPICS['progress']}-windows-job", "WRITE DESCRIBE"),
            *((ResourceType.GROUP, group, "READ") for group in (GROUP, "sensor-data-generator")),
            password=PASSWORD,
        )
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def secured(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A stack whose clients use that broker. The password is in a file of its own."""
    secrets = tmp_path_factory.mktemp("secrets")
    (secrets / "password").write_text(PASSWORD)
    properties = broker.kafka.properties(
        "pipeline",
        config_providers="secrets",
        config_providers_secrets_class=PROVIDER,
        sasl_jaas_config=scram("pipeline", f"${{secrets:{secrets}:password}}"),
    )
    made = new_pipeline(FOLDER.with_name(f"{FOLDER.name}-secured"), {name: port + 500 for name, port in PORTS.items()})
    made.environment |= {"KAFKA_BOOTSTRAP_SERVERS": broker.kafka.address(), "KAFKA_CLIENT_PROPERTIES": properties}
    try:
        made.started("reset")
        yield made
    finally:
        made.make("down")


def test_the_ledger_closes(broker: Broker, secured: Pipeline) -> None:
    secured.started("up", SCRIPT_DURATION="0")  # the job runs before the first reading: some can be late
    secured.started("run", SCRIPT_DURATION="30", LATE_SHARE="0.01", LATE_BY="20", MALFORMED_SHARE="0.01")
    assert secured.is_healthy()
    figures = secured.closed()
    assert figures["records"] == secured.acknowledged() > 1000
    assert figures["late"] and figures["rejected"]
    assert_every_window_is_right(broker.kafka.address("LOCAL"), secured.router)
    assert secured.make("doctor").returncode == 0, secured.make("doctor").stdout


def test_the_group_has_no_lag_when_everything_is_read(broker: Broker, secured: Pipeline) -> None:
    places = [TopicPartition(TOPICS["raw"], partition) for partition in (0, 1)]

    def lag() -> int:
        with broker.admin() as admin:
            [committed] = admin.list_group_offsets([GROUP]).values()
            ends = admin.list_partition_offsets(dict.fromkeys(places, -1))
        return sum(ends[place].offset - committed[place].offset for place in places)

    poll_until("no lag", lambda: lag() == 0, 30)


def test_the_password_is_shown_nowhere(broker: Broker, secured: Pipeline) -> None:
    supervisors = requests.get(f"{secured.router}/druid/indexer/v1/supervisor?full", timeout=30).text
    assert "KAFKA_SASL_JAAS_CONFIG" in supervisors and PASSWORD not in supervisors
    for process in psutil.process_iter(["cmdline"]):
        assert PASSWORD not in " ".join(process.info["cmdline"] or ())
    for path in secured.folder.rglob("*"):
        if path.is_file() and PASSWORD.encode() in path.read_bytes():
            assert path.parent.name == "services" and path.stem in ("coordinator", "indexer"), path
            assert path.stat().st_mode & 0o077 == 0, path
