"""docker-compose.yml, brought up for real from a copy of this checkout.

The copy is in a folder whose name has letters beyond ASCII and whose files only their owner can read.
"""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from clients import send, send_every_codec
from compose import ONE_SHOTS, Compose, copy_of_the_checkout, need_docker
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from pipeline import RAW, WATERMARK_SECONDS, WINDOW_SECONDS, assert_every_window_is_right, poll_until, sql

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1500)]
ROUTER, KAFKA = "http://127.0.0.1:28888", "127.0.0.1:29092"
RETENTION_BYTES = 8 * 2**20


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """A copy of the files that git knows, so that an edit is no edit of this checkout."""
    folder = tmp_path_factory.mktemp("checkout") / "проект"
    copy_of_the_checkout(folder)
    environment = {
        **os.environ,
        "COMPOSE_PROJECT_NAME": "sensors-e2e",
        "ROUTER_PORT": "28888",
        "KAFKA_PORT": "29092",
        "KAFKA_RETENTION_BYTES": str(RETENTION_BYTES),
        "SENSOR_INTERVAL": "0.5",
        "SCRIPT_DURATION": "45",
        "WINDOW_DURATION": f"{WINDOW_SECONDS} seconds",
        "WATERMARK_DURATION": f"{WATERMARK_SECONDS} seconds",
    }
    need_docker()
    running = Compose(folder, environment)
    running("down", "--volumes")
    try:
        make_the_raw_topic_beforehand(running)
        running.up()
        yield running
    finally:
        running("down", "--volumes", "--rmi", "local")


def make_the_raw_topic_beforehand(compose: Compose) -> None:
    """With Kafka's defaults: the producer's record timestamps, which the windows job can't use."""
    up = compose("up", "--detach", "--wait", "--wait-timeout", "300", "kafka0")
    assert up.returncode == 0, up.stdout + compose("logs", "--tail", "20").stdout
    with KafkaAdminClient(bootstrap_servers=KAFKA) as admin:
        admin.create_topics({RAW: {"num_partitions": 1, "replication_factor": 1}})


def test_up_brings_everything_up_healthy(compose: Compose) -> None:
    for name, state in compose.services().items():
        if name in ONE_SHOTS[:2]:
            assert (state["State"], int(state["ExitCode"])) == ("exited", 0), name
        elif name != "sensorgenerator":
            assert (state["State"], state["Health"]) == ("running", "healthy"), name
    assert requests.get(f"{ROUTER}/unified-console.html", timeout=30).ok
    compose.assert_doctor_finds_nothing()


def test_the_folder_may_have_any_name(compose: Compose) -> None:
    """Its name is the default of the project's, which the other tests set."""
    environment = {name: value for name, value in compose.environment.items() if name != "COMPOSE_PROJECT_NAME"}
    config = Compose(compose.folder, environment)("config", "--quiet")
    assert config.returncode == 0, config.stdout


def test_nothing_runs_as_root(compose: Compose) -> None:
    for name in compose.services():
        user = compose("exec", "--no-TTY", name, "id", "-u").stdout.strip()
        assert user != "0", name


def test_no_container_has_a_way_out_or_a_writable_root(compose: Compose) -> None:
    for name, state in compose.services().items():
        if state["State"] == "running":
            assert compose.inspect(name, ".HostConfig.ReadonlyRootfs"), name
            for network in compose.inspect(name, ".NetworkSettings.Networks"):
                command = ["docker", "network", "inspect", "--format", "{{.Internal}}", network]
                internal = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "true"
                assert internal or (network.endswith("_ports") and name in ("kafka0", "router")), (name, network)


def test_a_topic_made_beforehand_has_the_settings_of_the_contract(compose: Compose) -> None:
    with KafkaAdminClient(bootstrap_servers=KAFKA) as admin:
        [found] = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, RAW)])["topic"].values()
    assert found["message.timestamp.type"]["value"] == "LogAppendTime"
    assert "had the settings message.timestamp.type=CreateTime" in compose("logs", "topics").stdout


def assert_ledger_closes(compose: Compose, acknowledged: int) -> None:
    """Every acknowledged reading is in Kafka and Druid; every window, once, equals the recomputation."""
    figures = compose.closed()
    assert figures["records"] == figures["kafka"]["readings"] == figures["druid"]["readings"] == acknowledged
    assert figures["late"] == 0
    assert_every_window_is_right(KAFKA, ROUTER)


def test_the_datasources_hold_what_was_sent(compose: Compose) -> None:
    assert_ledger_closes(compose, compose.acknowledged())


def proxy_for_all_containers(compose: Compose, folder: Path) -> None:
    """A Docker client with a proxy in its configuration, which gives it to all containers."""
    own = Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker"))
    if (own / "cli-plugins").exists():
        (folder / "cli-plugins").symlink_to(own / "cli-plugins")
    proxies = {"default": {"httpProxy": "http://192.0.2.1:3128", "httpsProxy": "http://192.0.2.1:3128"}}
    (folder / "config.json").write_text(json.dumps({"proxies": proxies}))
    compose.environment["DOCKER_CONFIG"] = str(folder)


def test_an_edited_constant_takes_effect_at_the_next_up_and_nothing_is_lost(compose: Compose, tmp_path: Path) -> None:
    assert compose("down").returncode == 0
    proxy_for_all_containers(compose, tmp_path)
    script = compose.folder / "sensor-data-generator/producer.py"
    line = re.compile(r"^num_entities = (\d+)", re.MULTILINE)
    found = line.search(script.read_text())
    assert found
    vehicles = int(found[1]) + 7
    script.write_text(line.sub(f"num_entities = {vehicles}", script.read_text()))
    compose.up()
    # Druid looks for a worker once a minute for tasks that were there before the restart.
    newest = f'SELECT COUNT(DISTINCT entity) AS m FROM "{RAW}"'
    poll_until("the new vehicles in Druid", lambda: sql(ROUTER, newest)[0]["m"] == vehicles, 240)
    assert_ledger_closes(compose, compose.acknowledged())
    assert "HTTP_PROXY=http://192.0.2.1:3128" in compose("exec", "--no-TTY", "router", "env").stdout
    del compose.environment["DOCKER_CONFIG"]


def test_an_edit_of_a_servers_configuration_takes_effect_at_the_next_up(compose: Compose) -> None:
    edits = (
        ("kafka/server.properties", "log.cleaner.threads=2", "kafka0", "/opt/kafka/config/server.properties"),
        ("druid/cluster/query/router/runtime.properties", "druid.test=1", "router",
         "/tmp/conf/druid/cluster/query/router/runtime.properties"),
    )  # fmt: skip
    for path, line, _, _ in edits:
        with (compose.folder / path).open("a") as file:
            file.write(f"{line}\n")
    compose.up()
    for _, line, service, where in edits:
        assert line in compose("exec", "--no-TTY", service, "cat", where).stdout


def test_every_service_reads_readings_in_every_codec_and_in_added_partitions(compose: Compose) -> None:
    sent = compose.acknowledged() + send_every_codec(KAFKA, RAW)
    with KafkaAdminClient(bootstrap_servers=KAFKA) as admin:
        admin.create_partitions({RAW: 3})
    sent += send_every_codec(KAFKA, RAW)
    consumer = KafkaConsumer(bootstrap_servers=KAFKA)
    assert all(consumer.end_offsets([TopicPartition(RAW, partition) for partition in range(3)]).values())
    consumer.close()
    before = compose.acknowledged()
    assert compose("restart", "pyspark").returncode == 0
    compose.up()  # the generator looks for the last sequence numbers among them; topics finds the added partitions
    assert_ledger_closes(compose, sent + compose.acknowledged() - before)
    assert "exists with 3 partitions instead of 2" in compose("logs", "topics").stdout


def test_a_job_that_refuses_to_start_is_unhealthy_and_is_not_restarted(compose: Compose) -> None:
    compose.environment["TRIGGER_INTERVAL"] = "soon"
    up = compose("up", "--detach", "--wait", "--wait-timeout", "300", "pyspark")
    assert up.returncode and "unhealthy" in up.stdout, up.stdout
    assert compose.services()["pyspark"]["Health"] == "unhealthy"
    assert compose.inspect("pyspark", ".RestartCount") == 0
    assert "docker compose logs pyspark" in compose.inspect("pyspark", ".State.Health.Log")[-1]["Output"]
    logs = compose("logs", "--no-log-prefix", "pyspark").stdout
    reason = "TRIGGER_INTERVAL (or trigger_interval) is 'soon'"
    assert logs.count(reason) == 1
    assert re.search(
        f"The windows job has refused to start at .*{re.escape(reason)}", compose("run", "--rm", "doctor").stdout
    )
    del compose.environment["TRIGGER_INTERVAL"]
    compose.up()


def test_kafkas_log_is_bounded(compose: Compose) -> None:
    partition = TopicPartition("bounded", 0)
    with KafkaAdminClient(bootstrap_servers=KAFKA) as admin:
        options = {"num_partitions": 1, "replication_factor": 1, "configs": {"segment.bytes": str(2**20)}}
        admin.create_topics({partition.topic: options})
    written = 4 * RETENTION_BYTES
    block = os.urandom(2**16)
    send(KAFKA, partition.topic, "none", [("", block)] * (written // len(block)))
    consumer = KafkaConsumer(bootstrap_servers=KAFKA)

    def kept() -> bool:
        first, end = consumer.beginning_offsets([partition]), consumer.end_offsets([partition])
        size = (end[partition] - first[partition]) * len(block)
        assert size <= RETENTION_BYTES + 2**21, size
        return True

    poll_until("retention", kept, 120)
    consumer.close()


def test_a_fleet_of_200_000_vehicles_fits_into_the_generators_memory(compose: Compose) -> None:
    settings = {
        "NUM_ENTITIES": 200_000,
        "SCRIPT_DURATION": 2,
        "KAFKA_RAW_TOPIC": "bounded",
        "KAFKA_RUNS_TOPIC": "bounded",
        "GENERATOR_STATE_FILE": "/tmp/generator.json",
    }
    variables = [word for name, value in settings.items() for word in ("--env", f"{name}={value}")]
    run = compose("run", "--rm", "--no-deps", *variables, "sensorgenerator")
    assert run.returncode == 0, run.stdout[-2000:]


def test_killed_containers_lose_nothing_and_double_nothing(compose: Compose) -> None:
    """What is killed by hand Docker does not start again: that is the next `up`."""
    compose.environment |= {"SCRIPT_DURATION": "3600", "SENSOR_INTERVAL": "0.1"}
    compose.up()
    servers = [name for name in compose.services() if name not in ONE_SHOTS]
    for killed in (["kafka0"], ["pyspark", "indexer"], ["postgres", "zookeeper", "coordinator", "broker"], servers):
        time.sleep(5)
        assert compose("kill", *killed).returncode == 0
        compose.up()
    assert compose("stop", "sensorgenerator").returncode == 0
    figures = compose.closed()
    assert figures["gaps"] == figures["duplicates"] == 0
    assert_every_window_is_right(KAFKA, ROUTER)
