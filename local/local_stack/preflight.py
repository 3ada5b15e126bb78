"""What must be so before anything starts. Each failure raises StackError with the cause and the remedy."""

import json
import shlex
import shutil
import socket
from collections.abc import Iterable
from pathlib import Path

import psutil

from local_stack.errors import StackError
from local_stack.manager import FOLDER_VARIABLE
from local_stack.paths import DATA, SERVICES, STACK
from local_stack.service import Service

GIB = 1024**3
NEEDED_MEMORY = 3.0 * GIB  # measured with the defaults, see README.md
NEEDED_DISK = 2.0 * GIB


def check(services: Iterable[Service]) -> None:
    """Check the folder, host name, ports, memory and disk; to be called while nothing of the stack runs."""
    check_moved()
    check_host_name()
    for service in services:
        for variable, port in service.ports.items():
            check_port(service.name, variable, port)
    free = psutil.virtual_memory().available
    if free < NEEDED_MEMORY:
        raise StackError(
            f"{free / GIB:.1f} GiB of memory are free and the stack needs about {NEEDED_MEMORY / GIB:.0f} GiB:"
            " close other programs and start it again."
        )
    free = shutil.disk_usage(STACK).free
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
