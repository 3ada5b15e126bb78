"""The services of the stack, one row each, by the names that docker-compose.yml has for them."""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from service import contract

from local_stack import checks, servers
from local_stack.env_file import env_file
from local_stack.java import java
from local_stack.paths import DATA, ROOT, VENV
from local_stack.pipeline import pipeline
from local_stack.service import Check, Service
from local_stack.settings import in_force

GENERATOR = "sensorgenerator"


def services(environment: Mapping[str, str]) -> dict[str, Service]:
    """All services by name, in the order in which they are stopped last to first. Raises NotAllowed, BadSetting."""
    env, settings, data = env_file(environment), in_force(environment), pipeline(environment)
    topics = [topic.name for topic in data.topics.values()]
    generator_state = Path(settings["GENERATOR_STATE_FILE"])
    health = "/status/health"

    def values(*names: str) -> dict[str, str | None]:
        return {name: settings.get(name) for name in (*_kafka_settings(data.topics), *names)}

    rows = [
        servers.zookeeper(env),
        servers.kafka(env, data.raw_topic),
        _script(
            "topics",
            "kafka/create_topics.py",
            checks.when_finished(partial(checks.topics_exist, data.kafka, topics)),
            settings=values("REPLICATION_FACTOR"),
            one_shot=True,
            every_up=True,
        ),
        servers.coordinator(env),
        servers.druid(env, "broker", "query/broker", "/druid/broker/v1/readiness"),
        servers.druid(env, "historical", "data/historical", "/druid/historical/v1/readiness"),
        servers.druid(env, "indexer", "data/indexer", health),
        servers.druid(env, "router", "query/router", health),
        _script(
            "supervisor-specs",
            "supervisor-specs/register.py",
            checks.when_finished(partial(checks.supervisors_run, data.druid, data.datasources.values())),
            settings=values("DRUID_URL"),
            one_shot=True,
            every_up=True,
        ),
        _script(
            "pyspark",
            "pyspark/pyspark.py",
            checks.windows_job_reports(data),
            settings=values(
                "SPARK_MASTER",
                "SPARK_DRIVER_MEMORY",
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
            settings=values(
                "NUM_ENTITIES",
                "SENSOR_INTERVAL",
                "SCRIPT_DURATION",
                "MAX_IN_FLIGHT",
                "NUM_PROCESSES",
                "LATE_SHARE",
                "OUT_OF_ORDER_SHARE",
                "DUPLICATE_SHARE",
                "MALFORMED_SHARE",
                "LATE_BY",
                "OUT_OF_ORDER_BY",
                "FAULT_SEED",
                "GENERATOR_STATE_FILE",
            ),
            one_shot=True,
            data=[DATA / "generator"],
            state_file=generator_state,
        ),
    ]
    return {row.name: row for row in rows}


def ledger(environment: Mapping[str, str]) -> Service:
    """The row of what runs on demand only: `make verify`."""
    settings = in_force(environment)
    names = [*_kafka_settings(contract.topics(settings)), "DRUID_URL", "WAIT", "RESULT_FILE"]
    return _script(
        "verify",
        "ledger/verify.py",
        lambda _: "finished",
        settings={name: settings.get(name) for name in names},
        one_shot=True,
    )


def _kafka_settings(roles: Iterable[str]) -> list[str]:
    return ["KAFKA_BOOTSTRAP_SERVERS", *map(contract.setting, roles)]


def _script(name: str, script: str, check: Check, **row: Any) -> Service:
    """The row of a script of ours, the very file that the container runs."""
    path = ROOT / script
    kinds = ("*.py", "*.json", "*.properties", "requirements.txt")
    folders = (path.parent, ROOT / "common", ROOT / "schemas")
    files = [file for folder in folders for kind in kinds for file in folder.rglob(kind)]
    return Service(name, [str(VENV / "bin/python"), str(path)], path.parent, check, files=files, **row)
