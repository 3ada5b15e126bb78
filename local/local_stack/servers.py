"""The rows of the servers: ZooKeeper, Kafka, Druid. Their configuration is shared with docker-compose.yml."""

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from kafka_client import KafkaClient

from local_stack import checks
from local_stack.java import java
from local_stack.kafka import Kafka
from local_stack.paths import DATA, JARS, ROOT, STACK, VENV
from local_stack.service import Service, Setup

LOG4J = ROOT / "druid/cluster/_common/log4j2.xml"
LOG4J_OPTION = f"-Dlog4j2.configurationFile={LOG4J.as_uri()}"

# Any 16 bytes in base64, the same at every setup of Kafka's log folder.
CLUSTER_ID = "c2Vuc29yLWRhdGEtc3RhY2s"
# Of each broker: what the names of its ports in .env begin with, and its folder
BROKERS = ("KAFKA", "KAFKA1", "KAFKA2")

# What Druid needs opened of Java's own modules (its docs, "Java runtime"); the image's start script adds the same.
DRUID_JAVA_FLAGS = [
    "--add-exports=java.base/jdk.internal.misc=ALL-UNNAMED",
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=jdk.management/com.sun.management.internal=ALL-UNNAMED",
]

# Java's optimizing compiler takes only what is really hot: a quarter less CPU time for a start, the same peak speed.
# The larger of Druid's servers have the same lines in their jvm.config.
LATE_OPTIMIZATION = [
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=6000",
    "-XX:Tier4CompileThreshold=150000",
    "-XX:Tier4BackEdgeThreshold=400000",
]


def zookeeper(env: Mapping[str, str]) -> Service:
    port = int(env["ZOOKEEPER_PORT"])
    data, configuration = DATA / "zookeeper", STACK / "zookeeper.properties"
    return Service(
        "zookeeper",
        [java(), "-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", LOG4J_OPTION,
         "-cp", f"{JARS / 'druid/lib'}/*", "org.apache.zookeeper.server.ZooKeeperServerMain", str(configuration)],
        DATA,
        checks.port_answers(port),
        ports={"ZOOKEEPER_PORT": port},
        stopped_last=True,
        data=[data],
        configuration={
            configuration: f"dataDir={data.relative_to(DATA)}\nclientPort={port}\nclientPortAddress=127.0.0.1\n"
            "admin.enableServer=false\nautopurge.purgeInterval=1\n"
        },
        files=[LOG4J, JARS / "druid/lib.installed"],
    )  # fmt: skip


def kafka(env: Mapping[str, str], raw_topic: str) -> Service:
    """The broker, with the shared configuration and this mode's listeners and log folder appended."""
    return _broker(env, raw_topic, 0, f"1@127.0.0.1:{env['KAFKA_CONTROLLER_PORT']}")


def brokers(env: Mapping[str, str], raw_topic: str) -> list[Service]:
    """Three brokers, of which each is a controller, too."""
    addresses = [f"127.0.0.1:{env[f'{variable}_CONTROLLER_PORT']}" for variable in BROKERS]
    voters = ",".join(f"{number}@{address}" for number, address in enumerate(addresses, 1))
    shared = (ROOT / "kafka/cluster.properties").read_text()
    return [_broker(env, raw_topic, number, voters, shared) for number in range(len(BROKERS))]


def _broker(env: Mapping[str, str], raw_topic: str, number: int, voters: str, more: str = "") -> Service:
    names = [f"{BROKERS[number]}_PORT", f"{BROKERS[number]}_CONTROLLER_PORT"]
    broker, controller = (f"127.0.0.1:{env[name]}" for name in names)
    # Java reads such a file as Latin-1, and a comma would separate two folders: the paths in it are relative to DATA.
    folder = BROKERS[number].lower()
    data, configuration = DATA / folder, STACK / f"{folder}.properties"
    shared = ROOT / "kafka/server.properties"
    jars = ["-cp", f"{JARS / 'kafka'}/*"]
    return Service(
        f"kafka{number}",
        [java(), "-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", *LATE_OPTIMIZATION, LOG4J_OPTION,
         *jars, "kafka.Kafka", str(configuration)],
        DATA,
        checks.broker_answers(Kafka(KafkaClient(broker)), raw_topic),
        ports={name: int(env[name]) for name in names},
        stopped_last=True,
        data=[data],
        configuration={
            configuration: shared.read_text()
            + more
            + f"node.id={number + 1}\n"
            f"listeners=PLAINTEXT://{broker},CONTROLLER://{controller}\n"
            f"advertised.listeners=PLAINTEXT://{broker}\n"
            f"controller.quorum.voters={voters}\n"
            f"log.dirs={data.relative_to(DATA)}\n"
            f"log.retention.bytes={env['KAFKA_RETENTION_BYTES']}\n"
        },
        files=[LOG4J, JARS / "kafka.installed"],
        setup=Setup(
            [java(), "-XX:TieredStopAtLevel=1", LOG4J_OPTION, *jars, "kafka.tools.StorageTool", "format",
             "--ignore-formatted", "--cluster-id", CLUSTER_ID, "--config", str(configuration)],
            creates=data / "meta.properties",
        ),
    )  # fmt: skip


def spark_master(env: Mapping[str, str]) -> Service:
    """The master of a Spark cluster. It is there when the job and the workers leave it, or it would look for them."""
    return replace(_spark(env, "spark-master", "master.Master", "SPARK_MASTER_PORT"), stopped_last=True)


def spark_worker(env: Mapping[str, str], name: str, port: str) -> Service:
    """A worker with one core, for one executor."""
    limits = ["--cores", "1", "--memory", "512m", "--work-dir", str(DATA / "spark" / name)]
    master = f"spark://127.0.0.1:{env['SPARK_MASTER_PORT']}"
    return _spark(env, name, "worker.Worker", port, *limits, master)


def _spark(env: Mapping[str, str], name: str, main: str, port: str, *arguments: str) -> Service:
    home, conf = _spark_home(), DATA / "spark/conf"
    log4j = ROOT / "pyspark/log4j2.properties"
    return Service(
        name,
        [java(), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
         f"-Dlog4j2.configurationFile={log4j.as_uri()}", "-cp", f"{home}/jars/*", f"org.apache.spark.deploy.{main}",
         "--host", "127.0.0.1", "--port", env[port], "--webui-port", "0", *arguments],
        DATA / "spark",
        checks.port_answers(int(env[port])),
        environment={
            "JAVA_HOME": str(Path(java()).resolve().parent.parent),
            "SPARK_HOME": str(home),
            "SPARK_CONF_DIR": str(conf),
            "SPARK_SCALA_VERSION": "2.13",  # or a worker would look for it in folders of Spark's own build
            "SPARK_LOCAL_IP": "127.0.0.1",
        },
        ports={port: int(env[port])},
        data=[DATA / "spark"],
        configuration={conf / "spark-defaults.conf": spark_defaults(conf / "spark-defaults.conf")},
        files=[log4j, home.parent / "pyspark/jars.installed"],
    )  # fmt: skip


def _spark_home() -> Path:
    """The folder of PySpark, which brings Spark."""
    return next(VENV.glob("lib/python3*/site-packages/pyspark"), VENV / "pyspark")


@cache
def spark_defaults(path: Path) -> str:
    """The shared settings of a Spark cluster and this mode's, with the secret without which nobody is let in."""
    kept = re.search(r"^spark\.authenticate\.secret (\w+)$", path.read_text() if path.exists() else "", re.MULTILINE)
    log4j = (ROOT / "pyspark/log4j2.properties").as_uri()
    return (ROOT / "pyspark/cluster/spark-defaults.conf").read_text() + (
        f"spark.executor.extraJavaOptions -XX:+UseParallelGC -XX:+ExitOnOutOfMemoryError"
        f" -Dlog4j2.configurationFile={log4j}\n"
        f"spark.deploy.recoveryDirectory {DATA / 'spark/master'}\n"
        "spark.driver.host 127.0.0.1\n"
        "spark.driver.bindAddress 127.0.0.1\n"
        "spark.authenticate true\n"
        f"spark.authenticate.secret {kept[1] if kept else secrets.token_hex(16)}\n"
    )


def druid(env: Mapping[str, str], name: str, folder: str, ready: str, *more_ports: str) -> Service:
    """A Druid server with the configuration in druid/cluster; properties on the command line win over its files.

    `ready` is the path of its URL that answers once the server is ready.
    """
    port = f"{name.upper()}_PORT"
    cluster, var = ROOT / "druid/cluster", DATA / "druid/var"
    properties = {
        "druid.plaintextPort": env[port],
        "druid.zk.service.host": f"127.0.0.1:{env['ZOOKEEPER_PORT']}",
        "druid.metadata.storage.connector.port": env["DERBY_PORT"],
        "druid.metadata.storage.connector.connectURI": (
            f"jdbc:derby://127.0.0.1:{env['DERBY_PORT']}/var/druid/metadata.db;create=true"
        ),
        "druid.extensions.directory": str(JARS / "druid/extensions"),
    }
    class_path = [str(cluster / "_common"), str(cluster / folder), f"{JARS / 'druid/lib'}/*"]
    return Service(
        name,
        [
            java(),
            *DRUID_JAVA_FLAGS,
            *(cluster / folder / "jvm.config").read_text().split(),
            *(f"-D{key}={value}" for key, value in properties.items()),
            *("-cp", os.pathsep.join(class_path), "org.apache.druid.cli.Main", "server", name),
        ],
        DATA / "druid",
        checks.url_answers(f"http://127.0.0.1:{env[port]}{ready}"),
        ports={variable: int(env[variable]) for variable in (port, *more_ports)},
        data=[
            var / "tmp",
            *(var / "druid" / kind for kind in ("segments", "segment-cache", "indexing-logs", "task", "processing")),
        ],
        files=[*(cluster / "_common").iterdir(), *(cluster / folder).iterdir(), JARS / "druid/lib.installed"],
    )


def indexer(env: Mapping[str, str], secrets_of_kafka: Mapping[str, str]) -> Service:
    """The indexer, which is killed: it would wait for its tasks, which never end by themselves.

    The next start reads from Kafka again what they have not published.
    """
    row = druid(env, "indexer", "data/indexer", "/status/health")
    return replace(row, stop_signal="KILL", environment=secrets_of_kafka)


def coordinator(env: Mapping[str, str], secrets_of_kafka: Mapping[str, str]) -> Service:
    """The coordinator, with Derby inside. Its password is in a file of arguments: `ps` shows only the name."""
    row = druid(env, "coordinator", "master/coordinator-overlord", "/status/health", "DERBY_PORT")
    arguments = row.folder / "derby.args"
    return replace(
        row,
        command=[row.command[0], f"@{arguments.name}", *row.command[1:]],
        environment=secrets_of_kafka,
        configuration={arguments: derby_arguments(arguments)},
    )


@cache
def derby_arguments(path: Path) -> str:
    """The password for Derby and for Druid, as written by an earlier start or new."""
    if path.exists() and (kept := path.read_text()):  # empty after a power loss
        return kept
    password = secrets.token_hex(16)
    return f"-Dderby.user.app={password}\n-Ddruid.metadata.storage.connector.password={password}\n"


@cache
def dashboard_password(path: Path) -> str:
    """The password of the dashboard's user, as written by an earlier start or new."""
    if path.exists() and (kept := path.read_text()):
        return kept
    return secrets.token_urlsafe(24) + "\n"
