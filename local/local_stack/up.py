"""`make up`: start what doesn't run yet, and wait until everything is healthy."""

import logging
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping

from local_stack import folder, manager, preflight, settings
from local_stack.checks import health
from local_stack.env_file import env_file
from local_stack.errors import StackError, Unhealthy
from local_stack.logs import last_message, messages, tail_log
from local_stack.manager import Services
from local_stack.paths import LOGS, ROOT, VENV
from local_stack.pipeline import pipeline
from local_stack.service import Service
from local_stack.services import services

START_LIMIT = 240  # seconds until everything must be healthy

logger = logging.getLogger(__name__)


def up(environment: Mapping[str, str]) -> None:
    """Return when every service is healthy and all supervisors are RUNNING. Raises StackError."""
    begin = time.monotonic()
    all_services = services(environment)
    check_contract(all_services)
    start(all_services, settings_given(all_services, environment))
    wait_until_healthy(all_services.values(), begin)
    print(
        f"{time.monotonic() - begin:4.0f} s  all healthy. Druid's console: {pipeline(environment).druid.console}",
        flush=True,
    )


def check_contract(all_services: Services) -> None:
    """What is derived from schemas/ must be up to date. Raises StackError."""
    command = [str(VENV / "bin/python"), str(ROOT / "schemas/render.py"), "--check", "--quick"]
    check = subprocess.run(command, env=manager.inherited(), capture_output=True, text=True)
    if check.returncode:
        raise StackError(messages((check.stderr or check.stdout).strip()))


def settings_given(all_services: Services, environment: Mapping[str, str]) -> dict[str, str]:
    """What the environment sets of the services' settings and of .env."""
    names = [name for service in all_services.values() for name in service.settings]
    return settings.given([*names, *env_file(environment)], environment)


def start(all_services: Services, given: Mapping[str, str]) -> None:
    """Start everything, or let a running stack take up what has changed."""
    if given:
        logger.info("settings from the environment: %s", ", ".join(f"{name}={given[name]}" for name in given))
    with folder.exclusive():
        for service in all_services.values():
            service.prepare()
        if manager.processes():
            settings.save(given)
            manager.update(all_services)
            return
        if left := manager.stop_members():
            logger.info("stopped what still ran without a process manager: %s", ", ".join(left))
        preflight.check(all_services.values())
        for service in all_services.values():
            service.run_setup(manager.inherited())
        settings.save(given)
        manager.start(all_services)


def wait_until_healthy(all_services: Iterable[Service], begin: float) -> None:
    waiting, seen = list(all_services), dict[str, str]()
    while waiting:
        current = manager.running()
        for service in list(waiting):
            name = service.name
            if name not in current:
                raise StackError(f"The process manager doesn't know {name}: see {LOGS / 'supervisord.log'}.")
            try:
                description = health(service, current[name])
            except Unhealthy as reason:
                seen[name] = str(reason)
                if current[name].failed:
                    raise StackError(f"{name} could not be started: {last_message(name)}") from None
                continue
            waiting.remove(service)
            print(f"{time.monotonic() - begin:4.0f} s  {name:<16} {description}", flush=True)
        if waiting and time.monotonic() - begin > START_LIMIT:
            for service in waiting:
                print(f"{service.name}: {seen[service.name]}\n{tail_log(service.name, 5)}", file=sys.stderr)
            names = ", ".join(service.name for service in waiting)
            raise StackError(f"Not healthy after {START_LIMIT} s: {names}. The logs are in {LOGS}.")
        time.sleep(0.3)
