"""`make down` and `make reset`."""

import logging
import shutil
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from xmlrpc.client import Fault

import psutil

from local_stack import existing, folder, manager
from local_stack.errors import StackError
from local_stack.paths import DATA, LOGS, SOCKET, STACK
from local_stack.service import Service
from local_stack.services import ledger, services

STOP_LIMIT = 180  # seconds that the process manager has to stop everything

# What a stack creates in its folder, which may hold other things as well, besides what the services' rows name.
FILES = ["logs/*.log*", "services/*.json*", "services/*.starts*", "supervisord.*", "supervisor.sock*", "settings.*"]

logger = logging.getLogger(__name__)


def down(environment: Mapping[str, str]) -> None:
    """Stop everything, ZooKeeper and Kafka last; the data stays. Raises StackError."""
    if not manager.processes() and not manager.members():
        print("Nothing runs.", flush=True)
        return
    with folder.exclusive():
        stop(services(existing.without(environment)).values())
    logger.info("stopped; the data is kept")


def stop(rows: Collection[Service]) -> None:
    """Stop the process manager and all services, and what was left of them when it was killed. Raises StackError."""
    if manager.processes():
        pid = manager.rpc().getPID()
        logger.info("stopping ...")
        deadline = time.monotonic() + STOP_LIMIT
        last = manager.stopped_last(rows)
        for names in ([row.name for row in rows if row.name not in last], *([name] for name in last)):
            stop_processes(names, deadline)
        with suppress(OSError):  # it was killed meanwhile
            manager.rpc().shutdown()
        with suppress(psutil.NoSuchProcess):
            manager.still_running([psutil.Process(pid)], deadline - time.monotonic())
    if left := manager.stop_members(rows):
        logger.info("stopped what still ran without a process manager: %s", ", ".join(left))


def stop_processes(names: Collection[str], deadline: float) -> None:
    """Stop services at once, and return when they have ended, or at the `deadline`, by the monotonic clock.

    The process manager's own shutdown takes up to a second for each service, even for one that has ended.
    """
    for name in names:
        with suppress(Fault, OSError):  # it has ended, or the process manager has, or doesn't know it
            manager.rpc().stopProcess(name, False)
    while time.monotonic() < deadline:
        current = manager.processes()
        if all(name not in current or current[name].ended for name in names):
            return
        time.sleep(0.1)


def reset(environment: Mapping[str, str]) -> None:
    """Stop, and remove Kafka's log, the checkpoint and Druid's data, all together: none fits without the others.

    What servers that exist hold stays.
    """
    rows, kept = services(existing.without(environment)).values(), existing.kept(environment)
    if not folder.is_stack() and not manager.members():
        print(f"There is no data of a stack in {STACK}.", flush=True)
        return
    with folder.exclusive():
        stop(rows)
        remove([*rows, ledger(environment)])
    if kept:
        print(f"the files of this stack are removed. {kept}", flush=True)
    else:
        print("all data is removed; the next start is a first one", flush=True)


def remove(rows: Collection[Service]) -> None:
    """Remove what the services `rows` have made in the stack's folder, and nothing else. Raises StackError."""
    # The top folders: what a service has created beside the folders of its row goes, too.
    folders = {DATA / path.relative_to(DATA).parts[0] for row in rows for path in row.data}
    try:
        for path in folders:
            if path.exists():
                shutil.rmtree(path)
        for path in (
            *(path for row in rows for path in row.configuration),
            *(path for pattern in FILES for path in STACK.glob(pattern)),
            SOCKET,
            folder.LOCK,  # the last: until then the folder is a stack's
        ):
            path.unlink(missing_ok=True)
        for path in (DATA, LOGS, STACK / "services", STACK):
            if path.exists() and not any(path.iterdir()):
                path.rmdir()
    except OSError as error:
        raise StackError(
            f"Not all data could be removed ({error}): remove what is left in {STACK} before the next start."
        ) from error
