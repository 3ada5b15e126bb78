"""The services of the stack, one row each, by the names that docker-compose.yml has for them."""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from service import contract

from local_stack import checks, existing, servers
from local_stack.env_file import env_file
from local_stack.java import java
from local_stack.paths import DATA, ROOT, VENV
from local_stack.pipeline import pipeline
from local_stack.service import Check, Service
from local_stack.settings import PROPERTIES, clustered, in_force

GENERATOR = "sensorgenerator"

GENERATOR_SETTINGS = (
    "KAFKA_GENERATOR_GROUP_ID",
    "NUM_ENTITIES",
    "SENSOR_INTERVAL",
    "SCRIPT_DURATION",
    "HISTORY",
    "MAX_IN_FLIGHT",
    "NUM_PROCESSES",
    "LATE_SHARE",
    "OUT_OF_ORDER_SHARE",
    "DUPLICATE_SHARE",
    "MALFORMED_SHARE",
    "LATE_BY",
    "OUT_OF_ORDER_BY",
    "FAULT_SEED",
    "REPLAY_FILE",
    "REPLAY_MAP",
    "REPLAY_TIMES",
    "REPLAY_SPEED",
    "REPLAY_LOOP",
    "REPLAY_DRY_RUN",
    "GENERATOR_STATE_FILE",
)
# Of every script that asks Druid
DRUID_SETTINGS = ("DRUID_URL", "DRUID_USER", "DRUID_PASSWORD_FILE", "DRUID_CA_FILE")


def services(environment: Mapping[str, str]) -> dict[str, Service]:
    """All services by name, in the order in which they are stopped last to first. Raises NotAllowed, BadSetting.

    Servers that exist are none of them.
    """
    env, settings, data = env_file(environment), in_force(environment), pipeline(environment)
    topics = [topic.name for topic in data.topics.values()]
    generator_state = Path(settings["GENERATOR_STATE_FILE"])
    of_druid = data.kafka.client.druid_environment()

    def values(*names: str) -> dict[str, str | None]:
        return {name: settings.get(name) for name in (*_kafka_settings(data.topics), *names)}

    kafka, zookeeper, druid, spark = list[Service](), list[Service](), list[Service](), list[Service]()
    if "Kafka" not in existing.named(environment):
        kafka = servers.brokers(env, data.raw_topic) if clustered(environment) else [servers.kafka(env, data.raw_topic)]
    if "Druid" not in existing.named(environment):
        zookeeper = [servers.zookeeper(env)]
        druid = [
            servers.coordinator(env, of_druid),
            servers.druid(env, "broker", "query/broker", "/druid/broker/v1/readiness"),
            servers.druid(env, "historical", "data/historical", "/druid/historical/v1/readiness"),
            servers.indexer(env, of_druid),
            servers.druid(env, "router", "query/router", "/status/health"),
        ]
    if clustered(environment):
        spark = [
            servers.spark_master(env),
            servers.spark_worker(env, "spark-worker0", "SPARK_WORKER0_PORT"),
            servers.spark_worker(env, "spark-worker1", "SPARK_WORKER1_PORT"),
        ]
    rows = [
        *zookeeper,
        *kafka,
        _script(
            "topics",
            "kafka/create_topics.py",
            checks.when_finished(partial(checks.topics_exist, data.kafka, topics)),
            settings=values("PARTITIONS", "REPLICATION_FACTOR"),
            one_shot=True,
            every_up=True,
        ),
        *druid,
        _script(
            "supervisor-specs",
            "supervisor-specs/register.py",
            checks.when_finished(partial(checks.supervisors_run, data.druid, data.datasources.values())),
            settings=values(*DRUID_SETTINGS, "DRUID_TASK_COUNT", "DRUID_REPLICAS"),
            one_shot=True,
            every_up=True,
        ),
        *spark,
        _script(
            "pyspark",
            "pyspark/pyspark.py",
            checks.windows_job_reports(data),
            settings=values(
                "KAFKA_TRANSACTIONAL_ID",
                "KAFKA_GROUP_ID",
                "SPARK_MASTER",
                "SPARK_DRIVER_MEMORY",
                "SPARK_CONF_DIR",
                "TRIGGER_INTERVAL",
                "MAX_OFFSETS_PER_TRIGGER",
                "FAIL_ON_DATA_LOSS",
                "SHUFFLE_PARTITIONS",
                "CHECKPOINT_LOCATION",
                "WINDOWS_JOB_STATE_FILE",
                "WATERMARK_DURATION",
                "WINDOW_DURATION",
            ),
            environment={"JAVA_HOME": str(Path(java()).resolve().parent.parent)},
            data=[DATA / "pyspark"],
            state_file=data.job_state_file,
        ),
        _script(
            GENERATOR,
            "sensor-data-generator/producer.py",
            checks.generator_sends(generator_state),
            settings=values(*GENERATOR_SETTINGS),
            one_shot=True,
            data=[DATA / "generator"],
            state_file=generator_state,
        ),
    ]
    return {row.name: row for row in rows}


def ledger(environment: Mapping[str, str]) -> Service:
    """The row of `make verify`, which runs on demand only."""
    names = *DRUID_SETTINGS, "WAIT", "RESULT_FILE", "LEDGER_STATE_FILE", "FULL"
    return _on_demand("verify", "ledger/verify.py", environment, *names, data=[DATA / "ledger"])


def doctor(environment: Mapping[str, str]) -> Service:
    """The row of what `make doctor` runs on a running stack."""
    names = "KAFKA_TRANSACTIONAL_ID", *DRUID_SETTINGS, "WINDOWS_JOB_STATE_FILE"
    return _on_demand("doctor", "doctor/doctor.py", environment, *names)


def replay(environment: Mapping[str, str]) -> Service:
    """The row of `make replay`, which runs on demand only."""
    own = {"GENERATOR_STATE_FILE": str(DATA / "generator/replay.json")}  # the generator's stays as it is
    script, data = "sensor-data-generator/producer.py", [DATA / "generator"]
    return _on_demand("replay", script, own | dict(environment), *GENERATOR_SETTINGS, data=data)


def _on_demand(name: str, script: str, environment: Mapping[str, str], *names: str, **row: Any) -> Service:
    settings = in_force(environment)
    values = {each: settings.get(each) for each in (*_kafka_settings(contract.topics(settings)), *names)}
    return _script(name, script, lambda _: "finished", settings=values, one_shot=True, **row)


def _kafka_settings(roles: Iterable[str]) -> list[str]:
    return ["KAFKA_BOOTSTRAP_SERVERS", PROPERTIES, *map(contract.setting, roles)]


def _script(name: str, script: str, check: Check, **row: Any) -> Service:
    """The row of a script of ours, the very file that the container runs."""
    path = ROOT / script
    kinds = ("*.py", "*.json", "*.properties", "requirements.txt")
    folders = (path.parent, ROOT / "common", ROOT / "schemas")
    files = [file for folder in folders for kind in kinds for file in folder.rglob(kind)]
    if properties := row["settings"].get(PROPERTIES):
        files.append(Path(properties))
    return Service(name, [str(VENV / "bin/python"), str(path)], path.parent, check, files=files, **row)
