"""The settings that the user has set: environment variables, which `make up` keeps for the verbs after it."""

import difflib
import json
import os
import re
from collections.abc import Iterable, Mapping

from kafka_client import KafkaClient, KafkaSettings
from service.files import write_whole
from service.settings import checked

from local_stack.env_file import env_file
from local_stack.errors import NotAllowed, StackError
from local_stack.paths import DATA, SETTINGS_FILE

PROPERTIES = "KAFKA_CLIENT_PROPERTIES"

CLUSTER = "CLUSTER"  # 1: three brokers, and a Spark master with two workers
BROKER_PORTS = ("KAFKA_PORT", "KAFKA1_PORT", "KAFKA2_PORT")
# What a cluster sets itself
OF_CLUSTER = ("SPARK_MASTER", "SPARK_CONF_DIR")

# What make itself, the Makefile and the programs of its other verbs take from make's command line.
MAKE_VARIABLES = ("PYTHON", "INSTALLED", "STACK_DIR", "JAVA_HOME", "KILLS", "SEED", "CASE", "ROUNDS", "FILE", "MAP")

# Settings that are the path of a file or a folder of the user's
FILES = (PROPERTIES, "DRUID_PASSWORD_FILE", "DRUID_CA_FILE", "SPARK_CONF_DIR", "REPLAY_FILE", "REPLAY_MAP")


def clustered(environment: Mapping[str, str]) -> bool:
    """Whether the stack is a cluster. Raises NotAllowed."""
    value = environment.get(CLUSTER, "")
    if value not in ("", "0", "1"):
        raise NotAllowed(f"{CLUSTER} is {value!r}: it must be 1, for three Kafka brokers and a Spark cluster, or 0.")
    if value == "1" and (both := [name for name in OF_CLUSTER if environment.get(name)]):
        raise NotAllowed(
            f"{CLUSTER}=1 starts a Spark cluster with settings of its own, and {' and '.join(both)} would name another:"
            " unset one of them."
        )
    return value == "1"


def in_force(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment`, and this mode's own values of what it doesn't set. Raises NotAllowed for a bad line of .env."""
    env = env_file(environment)
    brokers = BROKER_PORTS if clustered(environment) else BROKER_PORTS[:1]
    own = {
        "KAFKA_BOOTSTRAP_SERVERS": ",".join(f"127.0.0.1:{env[port]}" for port in brokers),
        "DRUID_URL": f"http://127.0.0.1:{env['ROUTER_PORT']}",
        "CHECKPOINT_LOCATION": str(DATA / "pyspark/checkpoint"),
        "WINDOWS_JOB_STATE_FILE": str(DATA / "pyspark/windows-job.json"),
        "LEDGER_STATE_FILE": str(DATA / "ledger/ledger.json"),
        "GENERATOR_STATE_FILE": str(DATA / "generator/generator.json"),
    }
    if clustered(environment):
        own |= {
            "REPLICATION_FACTOR": "-1",  # that of kafka/cluster.properties
            "SPARK_MASTER": f"spark://127.0.0.1:{env['SPARK_MASTER_PORT']}",
            "SPARK_CONF_DIR": str(DATA / "spark/conf"),
        }
    # The services run in folders of their own.
    files = {name: os.path.abspath(os.path.expanduser(environment[name])) for name in FILES if environment.get(name)}
    return own | dict(environment) | files


def kafka_client(settings: Mapping[str, str]) -> KafkaClient:
    """How this mode's own clients reach Kafka; `settings` are those in force. Raises BadSetting."""
    constants = KafkaSettings(kafka_bootstrap_servers=settings["KAFKA_BOOTSTRAP_SERVERS"], kafka_client_properties="")
    return checked(constants, settings).kafka


def check_command_line(makeflags: str, known: Iterable[str]) -> None:
    """Raises NotAllowed for what is no setting on make's command line; `makeflags` is make's MAKEFLAGS."""
    names, problems = sorted({*known, *MAKE_VARIABLES}), []
    for name in command_line_variables(makeflags):
        if name in names:
            continue
        near = difflib.get_close_matches(name.upper(), names, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        problems.append(f'{name} is not a setting: {hint}README.md lists them under "Settings".')
    if problems:
        raise NotAllowed(*problems)


def command_line_variables(makeflags: str) -> list[str]:
    """The names of the variables in MAKEFLAGS, as in `ks -j2 -- NUM_ENTITIES=7 WINDOW_DURATION=10\\ seconds`.

    make puts a backslash before blanks and backslashes in a value and leaves quotes as they are.
    """
    words = re.findall(r"(?:\\.|[^\\ \t])+", makeflags, re.DOTALL)
    variables = words[words.index("--") + 1 :] if "--" in words else []
    return [word.partition("=")[0].rstrip(":+?!") for word in variables if "=" in word]


def given(names: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Those of `names` that the environment sets."""
    return {name: environment[name] for name in dict.fromkeys(names) if name in environment}


def save(settings: Mapping[str, str]) -> None:
    """Keep what the stack was started with. Raises OSError."""
    SETTINGS_FILE.parent.mkdir(parents=True, exist_ok=True)
    write_whole(SETTINGS_FILE, json.dumps(settings, indent=2) + "\n")


def with_saved(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment`, and what the stack was started with. Raises StackError."""
    try:
        return {**json.loads(SETTINGS_FILE.read_text()), **environment}
    except FileNotFoundError:
        return dict(environment)
    except (OSError, ValueError, TypeError) as error:
        raise StackError(f"{SETTINGS_FILE} can't be read ({error}): `make up` writes it anew.") from error
