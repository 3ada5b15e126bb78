"""The rows of the servers: ZooKeeper, Kafka, Druid. Their configuration is shared with docker-compose.yml."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from local_stack import checks
from local_stack.java import java
from local_stack.kafka import Kafka
from local_stack.paths import DATA, JARS, ROOT, STACK
from local_stack.service import Service, Setup

LOG4J = ROOT / "druid/cluster/_common/log4j2.xml"
LOG4J_OPTION = f"-Dlog4j2.configurationFile={LOG4J.as_uri()}"

# Any 16 bytes in base64, the same at every setup of Kafka's log folder.
CLUSTER_ID = "c2Vuc29yLWRhdGEtc3RhY2s"

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
        data=[data],
        configuration={
            configuration: f"dataDir={data.relative_to(DATA)}\nclientPort={port}\nclientPortAddress=127.0.0.1\n"
            "admin.enableServer=false\nautopurge.purgeInterval=1\n"
        },
        files=[LOG4J, JARS / "druid/lib.installed"],
    )  # fmt: skip


def kafka(env: Mapping[str, str], raw_topic: str) -> Service:
    """The broker, with the shared configuration and this mode's listeners and log folder appended."""
    broker, controller = f"127.0.0.1:{env['KAFKA_PORT']}", f"127.0.0.1:{env['KAFKA_CONTROLLER_PORT']}"
    # Java reads such a file as Latin-1, and a comma would separate two folders: the paths in it are relative to DATA.
    data, configuration = DATA / "kafka", STACK / "kafka.properties"
    shared = ROOT / "kafka/server.properties"
    jars = ["-cp", f"{JARS / 'kafka'}/*"]
    return Service(
        "kafka0",
        [java(), "-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", *LATE_OPTIMIZATION, LOG4J_OPTION,
         *jars, "kafka.Kafka", str(configuration)],
        DATA,
        checks.broker_answers(Kafka(broker), raw_topic),
        ports={name: int(env[name]) for name in ("KAFKA_PORT", "KAFKA_CONTROLLER_PORT")},
        data=[data],
        configuration={
            configuration: shared.read_text()
            + f"listeners=PLAINTEXT://{broker},CONTROLLER://{controller}\n"
            f"advertised.listeners=PLAINTEXT://{broker}\n"
            f"controller.quorum.voters=1@{controller}\n"
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


def coordinator(env: Mapping[str, str]) -> Service:
    """The coordinator, with Derby inside. Its password is in a file of arguments: `ps` shows only the name."""
    row = druid(env, "coordinator", "master/coordinator-overlord", "/status/health", "DERBY_PORT")
    arguments = row.folder / "derby.args"
    return replace(
        row,
        command=[row.command[0], f"@{arguments.name}", *row.command[1:]],
        configuration={arguments: derby_arguments(arguments)},
    )


@cache
def derby_arguments(path: Path) -> str:
    """The password for Derby and for Druid, as written by an earlier start or new."""
    if path.exists() and (kept := path.read_text()):  # empty after a power loss
        return kept
    password = secrets.token_hex(16)
    return f"-Dderby.user.app={password}\n-Ddruid.metadata.storage.connector.password={password}\n"
