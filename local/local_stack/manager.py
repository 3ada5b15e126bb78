"""The process manager, Supervisor: its configuration, and what the verbs ask of it."""

import configparser
import hashlib
import json
import logging
import math
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any, cast
from xmlrpc.client import ServerProxy

import psutil
from service.files import write_whole
from supervisor.xmlrpc import SupervisorTransport

from local_stack import start as starter
from local_stack.errors import StackError
from local_stack.paths import CONFIGURATION, DATA, LOGS, SERVICES, SOCKET, STACK, VENV
from local_stack.service import Process, Service

logger = logging.getLogger(__name__)

# What services get of the user's environment. Variables of other projects (HADOOP_CONF_DIR, JAVA_TOOL_OPTIONS,
# http_proxy, SPARK_HOME, PYTHONPATH, ...) would change how they work.
INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "LD_LIBRARY_PATH")
# Java reads the names of files and folders as this says.
LOCALE = {"LC_ALL": "C.UTF-8"}

# Every process of a stack has these in its environment, so that it is found even if the process manager was killed.
FOLDER_VARIABLE, NAME_VARIABLE = "SENSOR_DATA_STACK", "SENSOR_DATA_SERVICE"
MANAGER = "supervisord"

STOP_WAIT = 10  # seconds that a process has to end by itself
# A process has no environment while it becomes another program, and so isn't found at that moment.
STOP_ROUNDS = 3

Services = Mapping[str, Service]


def rpc() -> Any:
    """The process manager's XML-RPC interface (http://supervisord.org/api.html)."""
    return ServerProxy("http://127.0.0.1", SupervisorTransport(None, None, f"unix://{SOCKET}")).supervisor


def processes() -> dict[str, Process]:
    """The process of each service by its name; empty when the process manager doesn't run or doesn't answer.

    Raises StackError when it is another user's.
    """
    try:
        if os.getuid() not in (0, owner := SOCKET.stat().st_uid):
            raise StackError(
                f"The stack in {STACK} was started by user {owner}, and this command runs as user {os.getuid()}:"
                " run it as that user, or set STACK_DIR to another folder."
            )
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
        raise StackError(not_running())
    return found


def not_running() -> str:
    """Why processes() is empty, for the user."""
    if left := members():
        names = ", ".join(dict.fromkeys(left.values()))
        return (
            f"The process manager was killed or doesn't answer, and parts of the stack still run ({names}):"
            " `make up` stops them and starts everything again, `make down` stops them."
        )
    return "The stack is not running: `make up` starts it."


def members() -> dict[psutil.Process, str]:
    """The processes of this stack, the process manager among them, each with the name of its service."""
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # it has ended, or belongs to another user
            environment = process.environ()
            if environment.get(FOLDER_VARIABLE) == str(STACK):
                found[process] = environment.get(NAME_VARIABLE, "?")
    return found


def stopped_last(rows: Iterable[Service]) -> list[str]:
    """The names of the services that others need until they have ended, in the order in which they are stopped."""
    return [row.name for row in rows if row.stopped_last][::-1]


def stop_members(rows: Iterable[Service] = ()) -> list[str]:
    """Stop what members() finds, in the way that `rows` say, the process manager first; returns the names.

    Raises StackError when a process can't be stopped.
    """
    service = {row.name: row for row in rows}
    last = stopped_last(service.values())
    killed = {name for name in service if service[name].stop_signal == "KILL"}
    found = members()
    names = list(dict.fromkeys(found.values()))
    for _ in range(STOP_ROUNDS):
        others = {*found.values()} - {MANAGER, *last}
        for step in ({MANAGER}, others, *({name} for name in last)):
            left = {process: name for process, name in (found | members()).items() if name in step}
            for may_ignore in (True, False):
                for process, name in left.items():
                    with suppress(psutil.NoSuchProcess):
                        if may_ignore and name not in killed:
                            process.terminate()
                        else:
                            process.kill()
                left = {process: left[process] for process in still_running(left, STOP_WAIT)}
        if not (found := members()):
            return names
    remaining = ", ".join(f"{name} (process {process.pid})" for process, name in found.items())
    raise StackError(f"{remaining} can't be stopped: end them by hand, or restart the machine.")


def still_running(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """The processes that have not ended within `seconds`."""
    # psutil.wait_procs() also waits until PID 1 has reaped them, which may never happen in a container.
    deadline = time.monotonic() + seconds
    while (left := [process for process in processes if not _has_ended(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def start(services: Services) -> None:
    """Start the process manager with all services. Raises StackError."""
    write_configuration(services)
    _forget_starts(services)
    _control(services, "supervisord")


def update(services: Services) -> None:
    """Let the running process manager restart what has changed and start again what has failed. Raises StackError."""
    if not members():
        raise StackError("The stack's folder was moved while the stack was running: `make down`, then `make up`.")
    before = processes()
    write_configuration(services)
    _forget_starts(services)
    print(_control(services, "supervisorctl", "update") or "everything is up to date", flush=True)
    after = processes()
    for name in before.keys() & after.keys():
        if after[name].runs and after[name].pid == before[name].pid:  # or its next start would count as the first
            starts = {"restarts": 0, "short_lives": 0, "at": after[name].started_at}
            starter.write_starts(SERVICES / f"{name}.json", starts)
    for process in after.values():
        if process.failed or process.state == "STOPPED":
            logger.info("%s is started again", process.name)
            start_process(process.name)
        elif process.state == "EXITED" and services[process.name].every_up:
            start_process(process.name)


def add(services: Services, name: str) -> None:
    """Let the running process manager start one more service, or restart it after an edit. Raises StackError."""
    write_configuration(services)
    _control(services, "supervisorctl", "update", name)
    if not processes()[name].runs:
        start_process(name)


def start_process(name: str) -> None:
    _forget_starts([name])
    rpc().startProcess(name, False)


def _control(services: Services, program: str, *arguments: str) -> str:
    """The output of a program of the process manager."""
    # By its module: the scripts in bin/ name the folder in which they were installed.
    command = [str(VENV / "bin/python"), "-m", f"supervisor.{program}", "-c", str(CONFIGURATION), *arguments]
    environment = inherited() | {FOLDER_VARIABLE: str(STACK), NAME_VARIABLE: program}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise StackError(f"{program} failed: {done.stdout.strip()}")
    return done.stdout.strip()


def inherited() -> dict[str, str]:
    """The environment that all services get."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | LOCALE


def write_configuration(services: Services) -> None:
    """The process manager's configuration, and a file per service for start.py.

    The process manager restarts what dies, and keeps each service's log.
    """
    DATA.mkdir(parents=True, exist_ok=True)
    SERVICES.mkdir(exist_ok=True)
    config = configparser.ConfigParser(interpolation=None)
    config["supervisord"] = {
        "logfile": _configured(LOGS / "supervisord.log"),
        "logfile_maxbytes": "5MB",
        "logfile_backups": "1",
        "pidfile": _configured(STACK / "supervisord.pid"),
        "silent": "true",
    }
    config["unix_http_server"] = {"file": _configured(SOCKET), "chmod": "0700"}
    config["rpcinterface:supervisor"] = {
        "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
    }
    config["supervisorctl"] = {"serverurl": f"unix://{_configured(SOCKET)}"}
    for priority, service in enumerate(services.values()):
        description = SERVICES / f"{service.name}.json"
        own = {"command": service.command, "folder": str(service.folder), "environment": service.variables}
        digest = hashlib.sha256(json.dumps([own, service.digest()]).encode()).hexdigest()[:16]
        own["environment"] = {
            **inherited(), **service.variables, FOLDER_VARIABLE: str(STACK), NAME_VARIABLE: service.name
        }  # fmt: skip
        write_whole(description, json.dumps(own, indent=2) + "\n", mode=0o600)  # Druid's may hold a password
        config[f"program:{service.name}"] = {
            "command": _command([str(VENV / "bin/python"), "-IS", str(Path(starter.__file__)), str(description)]),
            # The digest lets `update` see an edit.
            "environment": f"DIGEST={digest},{NAME_VARIABLE}={service.name}",
            "priority": str(priority),  # stopped in the reverse order
            # One-shots: only a signal is an unexpected end. The rest: exit code 2 says that a restart wouldn't help.
            "autorestart": "unexpected",
            "exitcodes": "0,1,2,130" if service.one_shot else "2",
            "startsecs": "0",
            "stopsignal": service.stop_signal,
            "stopwaitsecs": str(STOP_WAIT),  # then it is killed
            "killasgroup": "true",
            "redirect_stderr": "true",
            # Supervisor expands this option twice.
            "stdout_logfile": _configured(LOGS / f"{service.name}.log").replace("%", "%%"),
            "stdout_logfile_maxbytes": "5MB",
            "stdout_logfile_backups": "1",
        }
    text = StringIO()
    config.write(text)
    write_whole(CONFIGURATION, text.getvalue())


def _configured(path: Path) -> str:
    """A path in the process manager's configuration: its own folder may have %, # or ; in its name."""
    return f"%(here)s/{path.relative_to(STACK)}" if path.is_relative_to(STACK) else str(path)


def _command(words: Iterable[str]) -> str:
    """A command line in the process manager's configuration, where a blank before # or ; begins a comment."""
    # Such a blank is inside single quotes: ending and beginning them puts something else before the # or ;.
    return re.sub(r"(?<=\s)(?=[#;])", "''", shlex.join(words)).replace("%", "%%")


def restarts(name: str) -> int:
    """How often a service was started again since `make up`."""
    starts = starter.read_starts(SERVICES / f"{name}.json")
    return starts["restarts"] if starts else 0


def waits(name: str) -> float:
    """Seconds until a service that keeps ending is started again; 0 when it is started already."""
    starts = starter.read_starts(SERVICES / f"{name}.json")
    return max(0.0, starts["at"] - time.time()) if starts else 0.0


def started_ago(name: str) -> float:
    """Seconds since the last start of a service; below 0 while it waits, infinite when nothing is known."""
    starts = starter.read_starts(SERVICES / f"{name}.json")
    return time.time() - starts["at"] if starts else math.inf


def _forget_starts(names: Iterable[str]) -> None:
    for name in names:
        starter.starts_file(SERVICES / f"{name}.json").unlink(missing_ok=True)


def memory(pid: int, children: bool = True) -> int:
    """MiB of memory that a process, and those it started, hold; 0 where there is none."""
    held = 0
    with suppress(psutil.NoSuchProcess):  # each may end at any moment
        if pid:
            process = psutil.Process(pid)
            for member in (process, *(process.children(recursive=True) if children else ())):
                held += member.memory_info().rss
    return int(held / 2**20)
