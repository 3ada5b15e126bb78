"""`make status` and `make verify`."""

import shutil
import subprocess
from collections.abc import Mapping

from local_stack import existing, manager
from local_stack.checks import health
from local_stack.errors import StackError, Unhealthy
from local_stack.paths import LOGS, STACK
from local_stack.pipeline import pipeline
from local_stack.preflight import GIB
from local_stack.service import Process
from local_stack.services import ledger, services

FULL_DISK = 0.1 * GIB  # and less: servers fail before the last byte is taken


def status(environment: Mapping[str, str]) -> None:
    """A line for each service. Raises StackError when one of them is not healthy."""
    current = manager.processes()
    if not current:
        raise StackError(manager.not_running())
    unhealthy = []
    all_services = services(environment)
    for name in all_services:  # an interrupted `make up` may have removed one that it was going to change
        current.setdefault(name, Process(name, "STOPPED", 0, 0, 0))
    memory = {name: manager.memory(process.pid) for name, process in current.items()}
    total = sum(memory.values()) + manager.memory(manager.rpc().getPID(), children=False)
    print(f"{'service':<18}{'state':<10}{'MiB':>6}  health")
    for name, service in all_services.items():
        process = current[name]
        try:
            description = health(service, process)
        except Unhealthy as reason:
            unhealthy.append(name)
            description = f"NOT HEALTHY: {reason}"
        if restarts := manager.restarts(name):
            description += f" (restarted {restarts} time{'s' * (restarts != 1)} since `make up`)"
        print(f"{name:<18}{process.state.lower():<10}{memory[name] or '':>6}  {description}")
    print(f"{'all together':<28}{total:>6}")
    data = pipeline(environment)
    rows = ", ".join(f"{name} {data.rows(role):,}" for role, name in data.datasources.items())
    print(f"\nrows in Druid: {rows}. Console: {data.druid.console}")
    if line := existing.described(environment):
        print(line)
    print(disk_space(shutil.disk_usage(STACK).free), flush=True)
    if unhealthy:
        raise StackError(f"Not healthy: {', '.join(unhealthy)}. The logs are in {LOGS}.")


def disk_space(free: float) -> str:
    """The free bytes on the disk of the stack's folder, and what a full disk means."""
    line = f"free disk space: {free / GIB:,.1f} GiB for {STACK}"
    if free >= FULL_DISK:
        return line
    return f"{line}. The disk is full: free some space there, and the services go on by themselves."


def verify(environment: Mapping[str, str]) -> int:
    """Run ledger/verify.py, which prints whether every record is accounted for; returns its exit code.

    Raises StackError when the stack is not running, unless the user has set the address of another Kafka.
    """
    if "KAFKA_BOOTSTRAP_SERVERS" not in environment and not manager.processes():
        raise StackError(manager.not_running())
    script = ledger(environment)
    return subprocess.run(script.command, env=manager.inherited() | script.variables).returncode
