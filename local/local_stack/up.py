"""`make up`: start what doesn't run yet, and wait until everything is healthy."""

import logging
import sys
import time
from collections.abc import Iterable, Mapping

from local_stack import folder, logs, manager, preflight, settings
from local_stack.checks import health
from local_stack.env_file import env_file
from local_stack.errors import StackError, Unhealthy, findings, refuse
from local_stack.logs import last_message, tail_log
from local_stack.manager import Services
from local_stack.paths import LOGS
from local_stack.pipeline import pipeline
from local_stack.service import Service
from local_stack.services import DASHBOARD, services

START_LIMIT = 240  # seconds until everything must be healthy

logger = logging.getLogger(__name__)


def up(environment: Mapping[str, str]) -> None:
    """Return when every service is healthy and all supervisors are RUNNING.

    Raises StackError, before anything starts with all that prevents it.
    """
    begin = time.monotonic()
    if DASHBOARD in manager.processes():  # `make dashboard` has started it
        environment = {**environment, settings.WITH_DASHBOARD: "1"}
    if found := findings(preflight.configuration_checks(environment)):
        refuse(found | findings(preflight.machine_checks(environment)))
    folder.claim()
    logs.configure()  # the log is in the folder
    all_services = services(environment)
    start(all_services, environment)
    wait_until_healthy(all_services.values(), begin)
    print(
        f"{time.monotonic() - begin:4.0f} s  all healthy. Druid's console: {pipeline(environment).druid.console}",
        flush=True,
    )


def settings_given(all_services: Services, environment: Mapping[str, str]) -> dict[str, str]:
    """What the environment sets of the services' settings, of .env, and which services the stack has."""
    names = [name for service in all_services.values() for name in service.settings]
    names += [*env_file(environment), settings.CLUSTER, settings.WITH_DASHBOARD]
    return settings.given(names, environment)


def start(all_services: Services, environment: Mapping[str, str]) -> None:
    """Start everything, or let a running stack take up what has changed."""
    given = settings_given(all_services, environment)
    if shown := [f"{name}={value}" for name, value in given.items() if name != settings.WITH_DASHBOARD]:
        logger.info("settings from the environment: %s", ", ".join(shown))
    with folder.exclusive():
        server_checks = preflight.server_checks(environment)
        if manager.processes():
            refuse(findings(server_checks))
            prepare(all_services)
            settings.save(given)
            manager.update(all_services)
            return
        if left := manager.stop_members(all_services.values()):
            logger.info("stopped what still ran without a process manager: %s", ", ".join(left))
        refuse(findings([*preflight.machine_checks(environment), *server_checks]))
        prepare(all_services)
        for service in all_services.values():
            service.run_setup(manager.inherited())
        settings.save(given)
        manager.start(all_services)


def prepare(all_services: Services) -> None:
    for service in all_services.values():
        service.prepare()


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
