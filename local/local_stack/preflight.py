"""What must be so before anything starts. Each check raises StackError with the cause and the remedy."""

import json
import shlex
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import psutil
from kafka.errors import KafkaError
from kafka_client import NoAccess, await_access
from service.druid import Denied, DruidError, Router
from service.settings import BadSetting

from local_stack import existing, folder, manager, settings
from local_stack.druid import TIMEOUT
from local_stack.env_file import env_file, image_version
from local_stack.errors import NotAllowed, StackError, Unhealthy, findings, refuse
from local_stack.logs import messages
from local_stack.manager import FOLDER_VARIABLE
from local_stack.paths import DATA, ROOT, SERVICES, STACK, VENV
from local_stack.pipeline import pipeline
from local_stack.service import Service
from local_stack.services import doctor, ledger, services

GIB = 1024**3
NEEDED_MEMORY = 3.0 * GIB  # measured with the defaults, see README.md
NEEDED_WITHOUT_SERVERS = 1.2 * GIB  # estimated: the heap of the windows job, and the scripts
NEEDED_FOR_CLUSTER = 2.5 * GIB  # besides: two brokers, the master, two workers with an executor each
NEEDED_DISK = 2.0 * GIB


Check = Callable[[], object]


def configuration_checks(environment: Mapping[str, str]) -> list[Check]:
    """Of what the user edits and sets: .env, the settings, the stack's folder, the files in schemas/."""
    images = (partial(image_version, name, environment) for name in ("KAFKA_IMAGE", "DRUID_IMAGE"))
    of_settings = [partial(each, environment) for each in (check_settings, check_druid_files, check_command_line)]
    return [*images, *of_settings, folder.check, check_contract, partial(check_cluster, environment)]


def machine_checks(environment: Mapping[str, str]) -> list[Check]:
    """Of this machine. While something of the stack runs, it holds the ports and the memory itself."""
    checks: list[Check] = [check_moved, check_disk]
    if "Druid" not in existing.named(environment):
        checks.append(check_host_name)
    memory = NEEDED_WITHOUT_SERVERS if len(existing.named(environment)) == len(existing.VARIABLES) else NEEDED_MEMORY
    if environment.get(settings.CLUSTER) == "1":
        memory += NEEDED_FOR_CLUSTER
    return checks if manager.members() else [*checks, partial(check_ports, environment), partial(check_memory, memory)]


def server_checks(environment: Mapping[str, str]) -> list[Check]:
    """Of servers that exist, for settings that configuration_checks() has passed."""
    checks = {"Kafka": check_kafka, "Druid": check_druid}
    return [partial(checks[what], environment) for what in existing.named(environment)]


def check_kafka(environment: Mapping[str, str]) -> None:
    """The Kafka that exists answers, and accepts the login. Raises StackError."""
    kafka = pipeline(environment).kafka
    try:
        await_access(kafka.client, TIMEOUT)
        kafka.topics()
    except NoAccess as error:
        raise StackError(str(error)) from error
    except (Unhealthy, KafkaError) as error:
        reason = error if isinstance(error, Unhealthy) else f"Kafka does not answer at {kafka.client.servers} ({error})"
        raise StackError(
            f"{reason}. KAFKA_BOOTSTRAP_SERVERS is set, so no Kafka is started here: start that one, correct the"
            " address, or unset it."
        ) from error


def check_druid(environment: Mapping[str, str]) -> None:
    """The Druid that exists answers, and accepts the user. Raises StackError."""
    druid = pipeline(environment).druid
    try:
        Router(druid.settings).request("GET", "/druid/indexer/v1/supervisor", TIMEOUT)
    except (Denied, BadSetting) as error:
        raise StackError(str(error)) from error
    except DruidError as error:
        raise StackError(
            f"Druid does not answer at {druid.url} ({error}). DRUID_URL is set, so no Druid is started here: start that"
            " one, correct the address, or unset it."
        ) from error


def check_settings(environment: Mapping[str, str]) -> None:
    """Raises NotAllowed for a bad line of .env or a bad name of a topic. The services check their own settings."""
    rows(environment)


def check_druid_files(environment: Mapping[str, str]) -> None:
    """Raises NotAllowed for a password or a CA of Druid that can't be read."""
    try:
        Router(pipeline(environment).druid.settings)
    except BadSetting as error:
        raise NotAllowed(str(error)) from error


def check_command_line(environment: Mapping[str, str]) -> None:
    """Raises NotAllowed for a name on make's command line that is no setting."""
    names = [name for row in rows({}) for name in row.settings]
    settings.check_command_line(environment.get("MAKEFLAGS", ""), [*names, *env_file({}), settings.CLUSTER])


def rows(environment: Mapping[str, str]) -> list[Service]:
    """What has settings. Raises NotAllowed."""
    try:
        return [*services(environment).values(), ledger(environment), doctor(environment)]
    except BadSetting as error:
        raise NotAllowed(str(error)) from error


def check_cluster(environment: Mapping[str, str]) -> None:
    """The data of one broker is nothing for three, and the other way round. Raises StackError."""
    if not (DATA / "kafka/meta.properties").exists() or existing.named(environment).get("Kafka"):
        return
    if (of_three := (DATA / "kafka1/meta.properties").exists()) != settings.clustered(environment):
        of, now = ("three brokers", "set CLUSTER=1") if of_three else ("one broker", "start it without CLUSTER")
        raise StackError(f"The data in {STACK} is of a Kafka with {of}: {now}, or remove all data (`make reset`).")


def check_contract() -> None:
    """What is derived from schemas/ must be up to date. Raises StackError."""
    command = [str(VENV / "bin/python"), str(ROOT / "schemas/render.py"), "--check", "--quick"]
    done = subprocess.run(command, env=manager.inherited(), capture_output=True, text=True)
    if done.returncode:
        raise StackError(*messages((done.stderr or done.stdout).strip()).splitlines())


def check_memory(needed: float) -> None:
    """Raises StackError."""
    free = psutil.virtual_memory().available
    if free < needed:
        raise StackError(
            f"{free / GIB:.1f} GiB of memory are free and the stack needs about {needed / GIB:.0f} GiB:"
            " close other programs and start it again."
        )


def check_disk() -> None:
    """Raises StackError."""
    free = shutil.disk_usage(folder.existing(STACK)).free
    if free < NEEDED_DISK:
        raise StackError(
            f"{free / GIB:.1f} GiB are free on the disk of {STACK} and the stack needs {NEEDED_DISK / GIB:.0f} GiB:"
            " free some space there, or let STACK_DIR name a folder on another disk."
        )


def check_host_name() -> None:
    """Druid's indexer looks up the name of this machine and has no setting that prevents it. Raises StackError."""
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, None)
    except OSError as error:
        raise StackError(
            f"The name of this machine, {name}, can't be resolved ({error.strerror}), and Druid's indexer doesn't start"
            f" without that: add the line `127.0.0.1 {name}` to /etc/hosts."
        ) from error


def check_moved() -> None:
    """Druid stores the absolute path of each segment: they must still be there. Raises StackError."""
    try:
        before = Path(json.loads((SERVICES / "indexer.json").read_text())["environment"][FOLDER_VARIABLE])
        segments = any((DATA / "druid/var/druid/segments").iterdir())
    except (OSError, ValueError, LookupError):
        return  # there was no start, or no segment
    if segments and before.resolve() != STACK:
        raise StackError(
            f"The stack was moved from {before} to {STACK}, and Druid's data has the paths of the old folder: move it"
            f" back, or link the new folder there (ln -s {shlex.quote(str(STACK))} {shlex.quote(str(before))}), or"
            " remove all data (`make reset`)."
        )


def check_ports(environment: Mapping[str, str]) -> None:
    """Raises StackError with all ports that are not available, NotAllowed as rows() does."""
    ports = [(row.name, *port) for row in rows(environment) for port in row.ports.items()]
    refuse(findings(partial(check_port, *port) for port in ports))


def check_port(name: str, variable: str, port: int) -> None:
    """Check that the port is free and that this user may listen on it. Raises StackError."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise StackError(
                f"Port {port}, which {name} needs, is not available ({error.strerror}{owner(port)}):"
                f" stop the program that uses it, or set {variable} in .env to another port."
            ) from error


def owner(port: int) -> str:
    """Which process listens on a port, as far as this user may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid
            ):
                return f": {psutil.Process(connection.pid).name()}, process {connection.pid}"
    except (psutil.Error, OSError):
        pass
    return ""
