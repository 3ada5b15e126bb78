"""Which processes make up the stack without Docker: the services of docker-compose.yml, by the same names."""

import configparser
import hashlib
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from install import java as find_java
from settings import DATA, JARS, LOGS, ROOT, STACK, VENV, env_file, refuse

LOG4J = ROOT / "druid/cluster/_common/log4j2.xml"
SOCKET = STACK / "supervisor.sock"
CONFIGURATION = STACK / "supervisord.conf"
PROGRESS_FILE = DATA / "pyspark/progress.json"

java = cache(find_java)  # to find it is to start it

# The constants that an environment variable of the same name overrides, by service.
OVERRIDES = {
    "sensorgenerator": [
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
    ],
    "pyspark": [
        "WATERMARK_DURATION",
        "WINDOW_DURATION",
        "TRIGGER_INTERVAL",
        "MAX_OFFSETS_PER_TRIGGER",
        "SHUFFLE_PARTITIONS",
        "SPARK_MASTER",
        "SPARK_DRIVER_MEMORY",
    ],
}

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

# Let Java's optimizing compiler take only what is really hot: a quarter less CPU time for a start, the same peak speed.
# The larger of Druid's servers have the same lines in their jvm.config.
LATE_OPTIMIZATION = [
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=6000",
    "-XX:Tier4CompileThreshold=150000",
    "-XX:Tier4BackEdgeThreshold=400000",
]


@dataclass(frozen=True)
class Service:
    """One process. `one_shot` ends by itself; everything else is restarted whenever it ends."""

    command: list[str]
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)  # by the variable in .env that sets them
    files: Sequence[Path] = ()  # that it is made of: an edit of one restarts it at the next `make up`
    one_shot: bool = False


def services() -> dict[str, Service]:
    """All services by name, in the order in which they are stopped last to first."""
    STACK.mkdir(parents=True, exist_ok=True)  # two of them get a configuration file there
    env = env_file()
    kafka_servers = f"127.0.0.1:{env['KAFKA_PORT']}"
    return {
        "zookeeper": _zookeeper(env),
        "kafka0": _kafka(env),
        "topics": _python("kafka/create_topics.py", {"KAFKA_BOOTSTRAP_SERVERS": kafka_servers}, one_shot=True),
        "coordinator": _druid(env, "coordinator", "master/coordinator-overlord", "DERBY_PORT"),
        "broker": _druid(env, "broker", "query/broker"),
        "historical": _druid(env, "historical", "data/historical"),
        "indexer": _druid(env, "indexer", "data/indexer"),
        "router": _druid(env, "router", "query/router"),
        "supervisor-specs": _python(
            "supervisor-specs/register.py",
            {"KAFKA_BOOTSTRAP_SERVERS": kafka_servers, "DRUID_URL": router_url()},
            one_shot=True,
        ),
        "pyspark": _python(
            "pyspark/pyspark.py",
            more_files=[ROOT / "sensor-data-generator/batch.py"],
            environment={
                "KAFKA_BOOTSTRAP_SERVERS": kafka_servers,
                "CHECKPOINT_LOCATION": str(DATA / "pyspark/checkpoint"),
                "PROGRESS_FILE": str(PROGRESS_FILE),
                "JAVA_HOME": str(Path(java()).resolve().parent.parent),
            },
        ),
        "sensorgenerator": _python(
            "sensor-data-generator/producer.py", {"KAFKA_BOOTSTRAP_SERVERS": kafka_servers}, one_shot=True
        ),
    }


def router_url() -> str:
    return f"http://127.0.0.1:{env_file()['ROUTER_PORT']}"


def _zookeeper(env: dict[str, str]) -> Service:
    configuration = STACK / "zookeeper.properties"
    configuration.write_text(
        f"dataDir={DATA / 'zookeeper'}\nclientPort={env['ZOOKEEPER_PORT']}\nclientPortAddress=127.0.0.1\n"
        "admin.enableServer=false\nautopurge.purgeInterval=1\n"
    )
    main = "org.apache.zookeeper.server.ZooKeeperServerMain"
    return Service(
        [java(), "-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *_log4j(),
         "-cp", f"{JARS / 'druid/lib'}/*", main, str(configuration)],
        DATA,
        ports={"ZOOKEEPER_PORT": int(env["ZOOKEEPER_PORT"])},
        files=[configuration, LOG4J, JARS / "druid/lib.installed"],
    )  # fmt: skip


def _kafka(env: dict[str, str]) -> Service:
    """The broker, with the shared configuration and this mode's listeners and log folder appended."""
    broker, controller = f"127.0.0.1:{env['KAFKA_PORT']}", f"127.0.0.1:{env['KAFKA_CONTROLLER_PORT']}"
    configuration = STACK / "kafka.properties"
    configuration.write_text(
        (ROOT / "kafka/server.properties").read_text()
        + f"listeners=PLAINTEXT://{broker},CONTROLLER://{controller}\n"
        + f"advertised.listeners=PLAINTEXT://{broker}\n"
        + f"controller.quorum.voters=1@{controller}\n"
        + f"log.dirs={DATA / 'kafka'}\n"
    )
    return Service(
        [java(), "-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", *LATE_OPTIMIZATION, *_log4j(),
         "-cp", f"{JARS / 'kafka'}/*", "kafka.Kafka", str(configuration)],
        DATA,
        ports={name: int(env[name]) for name in ("KAFKA_PORT", "KAFKA_CONTROLLER_PORT")},
        files=[configuration, LOG4J, JARS / "kafka.installed"],
    )  # fmt: skip


def format_kafka_storage() -> list[str]:
    """The command that prepares Kafka's log folder; it leaves one alone that is prepared."""
    tool = [java(), "-XX:TieredStopAtLevel=1", *_log4j(), "-cp", f"{JARS / 'kafka'}/*", "kafka.tools.StorageTool"]
    configuration = str(STACK / "kafka.properties")
    return [*tool, "format", "--ignore-formatted", "--cluster-id", CLUSTER_ID, "--config", configuration]


# Any 16 bytes in base64, the same at every format.
CLUSTER_ID = "c2Vuc29yLWRhdGEtc3RhY2s"


def _druid(env: dict[str, str], name: str, folder: str, *more_ports: str) -> Service:
    """A Druid server with the configuration in druid/cluster; properties on the command line win over its files."""
    port = f"{name.upper()}_PORT"
    cluster = ROOT / "druid/cluster"
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
        [
            java(),
            *DRUID_JAVA_FLAGS,
            *(cluster / folder / "jvm.config").read_text().split(),
            *(f"-D{key}={value}" for key, value in properties.items()),
            *("-cp", os.pathsep.join(class_path), "org.apache.druid.cli.Main", "server", name),
        ],
        DATA / "druid",
        ports={variable: int(env[variable]) for variable in (port, *more_ports)},
        files=[*(cluster / "_common").iterdir(), *(cluster / folder).iterdir(), JARS / "druid/lib.installed"],
    )


def _python(
    script: str, environment: dict[str, str], one_shot: bool = False, more_files: Sequence[Path] = ()
) -> Service:
    """A script of ours, by the very file that the container runs."""
    path = ROOT / script
    command, files = [str(VENV / "bin/python"), str(path)], [*path.parent.glob("*.*"), *more_files]
    return Service(command, path.parent, environment, files=files, one_shot=one_shot)


def _log4j() -> list[str]:
    return [f"-Dlog4j2.configurationFile={LOG4J}"]


def write_configuration(all_services: dict[str, Service]) -> None:
    """The process manager's configuration: it restarts what dies, and keeps each service's log."""
    config = configparser.ConfigParser(interpolation=None)
    config["supervisord"] = {
        "logfile": str(LOGS / "supervisord.log"),
        "logfile_maxbytes": "5MB",
        "logfile_backups": "1",
        "pidfile": str(STACK / "supervisord.pid"),
        "silent": "true",
    }
    config["unix_http_server"] = {"file": str(SOCKET), "chmod": "0700"}
    config["rpcinterface:supervisor"] = {
        "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
    }
    config["supervisorctl"] = {"serverurl": f"unix://{SOCKET}"}
    for priority, (name, service) in enumerate(all_services.items()):
        overridden = {key: os.environ[key] for key in OVERRIDES.get(name, []) if key in os.environ}
        for key, value in overridden.items():
            if re.search('["\n\r;#]', value):  # the process manager's syntax can't quote these
                refuse(f"{key} is {value!r}: it must not hold a double quote, a line break, ; or #.")
        environment = service.environment | overridden | {"SOURCES": _digest(service.files)}
        config[f"program:{name}"] = {
            "command": shlex.join(service.command).replace("%", "%%"),
            "directory": str(service.folder).replace("%", "%%"),
            "environment": ",".join(f'{key}="{value.replace("%", "%%")}"' for key, value in environment.items()),
            "priority": str(priority),  # stopped in the reverse order
            # One-shots: only a signal is no way to end. The rest: exit code 2 says that a restart wouldn't help.
            "autorestart": "unexpected",
            "exitcodes": "0,1,2,130" if service.one_shot else "2",
            "startsecs": "0",
            # Then it is killed, which loses nothing: Druid's indexer waits for tasks that never end by themselves, and
            # what they have not published yet is read from Kafka again.
            "stopwaitsecs": "10",
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": str(LOGS / f"{name}.log"),
            "stdout_logfile_maxbytes": "5MB",
            "stdout_logfile_backups": "1",
        }
    with CONFIGURATION.open("w") as file:
        config.write(file)


def _digest(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        if path.is_file():  # an editor's lock is a link to nowhere
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
