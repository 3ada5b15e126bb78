"""The process manager, Supervisor: its configuration, and what the verbs ask of it."""

import configparser
import logging
import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast
from xmlrpc.client import ServerProxy

import psutil
from supervisor.xmlrpc import SupervisorTransport

from local_stack.errors import NotAllowed, StackError
from local_stack.paths import CONFIGURATION, LOGS, SOCKET, STACK, VENV
from local_stack.service import Process, Service

logger = logging.getLogger(__name__)

# What a user's shell has set for another Python, Spark or Kafka.
FOREIGN = re.compile(r"PYTHON(PATH|HOME)$|(PY)?SPARK_|KAFKA_")

Services = Mapping[str, Service]


def rpc() -> Any:
    """The process manager's XML-RPC interface (http://supervisord.org/api.html)."""
    return ServerProxy("http://127.0.0.1", SupervisorTransport(None, None, f"unix://{SOCKET}")).supervisor


def processes() -> dict[str, Process]:
    """The process of each service by its name; empty when the process manager doesn't run."""
    try:
        found = cast(list[dict[str, Any]], rpc().getAllProcessInfo())
    except OSError:
        return {}
    return {
        info["name"]: Process(info["name"], info["statename"], info["pid"], info["exitstatus"], info["start"])
        for info in found
    }


def running() -> dict[str, Process]:
    """processes() while the stack should run; raises StackError when it doesn't."""
    found = processes()
    if not found:
        raise StackError("The stack was stopped.")
    return found


def start(services: Services) -> None:
    """Start the process manager with all services. Raises StackError."""
    write_configuration(services)
    _control(services, "supervisord")


def update(services: Services) -> None:
    """Let the running process manager restart what has changed and start again what has failed. Raises StackError."""
    write_configuration(services)
    print(_control(services, "supervisorctl", "update") or "everything is up to date", flush=True)
    for process in processes().values():
        if process.failed or process.state == "STOPPED":
            logger.info("%s is started again", process.name)
            start_process(process.name)


def start_process(name: str) -> None:
    rpc().startProcess(name, False)


def _control(services: Services, program: str, *arguments: str) -> str:
    """The output of a program of the process manager."""
    command = [str(VENV / "bin" / program), "-c", str(CONFIGURATION), *arguments]
    done = subprocess.run(command, env=inherited(services), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise StackError(f"{program} failed: {done.stdout.strip()}")
    return done.stdout.strip()


def inherited(services: Services) -> dict[str, str]:
    """The environment that all services get."""
    # A setting goes to the services that have it and not to all, so that it ends when it is no longer set.
    settings = {name for service in services.values() for name in service.settings}
    return {name: value for name, value in os.environ.items() if name not in settings and not FOREIGN.match(name)}


def write_configuration(services: Services) -> None:
    """The process manager's configuration: it restarts what dies, and keeps each service's log. Raises NotAllowed."""
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
    for priority, service in enumerate(services.values()):
        config[f"program:{service.name}"] = {
            "command": shlex.join(service.command).replace("%", "%%"),
            "directory": str(service.folder).replace("%", "%%"),
            # The digest lets `update` see an edit.
            "environment": _quoted(service.variables | {"FILES_DIGEST": service.digest()}),
            "priority": str(priority),  # stopped in the reverse order
            # One-shots: only a signal is an unexpected end. The rest: exit code 2 says that a restart wouldn't help.
            "autorestart": "unexpected",
            "exitcodes": "0,1,2,130" if service.one_shot else "2",
            "startsecs": "0",
            # Then it is killed, which loses nothing: Druid's indexer waits for tasks that never end by themselves, and
            # what they have not published yet is read from Kafka again.
            "stopwaitsecs": "10",
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": str(LOGS / f"{service.name}.log"),
            "stdout_logfile_maxbytes": "5MB",
            "stdout_logfile_backups": "1",
        }
    with CONFIGURATION.open("w") as file:
        config.write(file)


def _quoted(environment: Mapping[str, str]) -> str:
    for name, value in environment.items():
        if re.search('["\n\r;#]', value):  # Supervisor's syntax can't quote these
            raise NotAllowed(f"{name} is {value!r}: it must not hold a double quote, a line break, ; or #.")
    return ",".join(f'{name}="{value.replace("%", "%%")}"' for name, value in environment.items())


def memory(pid: int, children: bool = True) -> int:
    """MiB of memory that a process, and those it started, hold; 0 where there is none."""
    held = 0
    with suppress(psutil.NoSuchProcess):  # each may end at any moment
        if pid:
            process = psutil.Process(pid)
            for member in (process, *(process.children(recursive=True) if children else ())):
                held += member.memory_info().rss
    return int(held / 2**20)
