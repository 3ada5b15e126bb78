"""`make doctor`: what is wrong with the settings, this machine and the stack, each in a sentence with its remedy."""

import subprocess
from collections.abc import Collection, Mapping

import psutil

from local_stack import manager, preflight, services, settings
from local_stack.checks import check_process, health
from local_stack.errors import NotAllowed, StackError, Unhealthy, findings
from local_stack.logs import last_message
from local_stack.manager import MANAGER, Services
from local_stack.paths import LOGS
from local_stack.service import Process

OFTEN, RECENT = 3, 600  # restarts since `make up`, and seconds since the last one, that are named

Members = Mapping[psutil.Process, str]  # the processes of the stack and the names of their services


def doctor(environment: Mapping[str, str]) -> int:
    """Print a sentence for each thing that is wrong, and what was checked; nothing is created or changed.

    Returns 0 if nothing was found, 2 if a setting is not allowed, and 1 otherwise.
    """
    members, found = manager.members(), dict[str, int]()
    if members:
        try:
            environment = settings.with_saved(environment)  # what the stack was started with
        except StackError as error:
            found[str(error)] = error.exit_code
    found |= findings(preflight.configuration_checks(environment))
    machine = preflight.machine_checks(environment)
    checked, note, sentences = "the settings, the stack's folder, schemas/, this machine", "", list[str]()
    asks = "KAFKA_BOOTSTRAP_SERVERS" in environment
    if NotAllowed.exit_code in found.values():
        asks, note = False, " Correct the settings: `make doctor` then checks the rest."
    elif members:
        rows = services.services(environment)
        sentences, asks = process_findings(rows, members, services.doctor(environment).variables.values())
        checked += f", {len(rows)} services"
        note = "" if asks else " Kafka, Druid and the windows job are checked when their processes run."
        if asks:
            machine.remove(preflight.check_disk)  # doctor/doctor.py looks at the disk, too
    elif not asks:
        note = " The stack is not running: `make up` starts it."
    found |= findings(machine) | dict.fromkeys(sentences, StackError.exit_code)
    for sentence in found:
        print(sentence)
    print(f"{'' if found else 'Nothing was found. '}Checked: {checked}.{note}", flush=True)
    code = max(found.values(), default=0)
    if asks:
        script = services.doctor(environment)
        code = max(code, subprocess.run(script.command, env=manager.inherited() | script.variables).returncode)
    return code


def process_findings(rows: Services, members: Members, looked_at: Collection[str]) -> tuple[list[str], bool]:
    """A sentence for each process that doesn't work, and whether Kafka, Druid and the windows job can be asked.

    A service with its state file among `looked_at` is left to doctor/doctor.py, as is what the scripts have done.
    """
    paused = stopped_by_signal(members)
    sentences = [f"{name} was stopped by a signal: `kill -CONT {pids}` lets it go on." for name, pids in paused.items()]
    if MANAGER in paused:
        return sentences, False  # it doesn't answer
    try:
        current = manager.running()
    except StackError as error:
        return [*sentences, str(error)], False
    asks = not paused
    for name, row in rows.items():
        if name in paused or str(row.state_file) in looked_at:
            continue
        process = current.get(name) or Process(name, "STOPPED", 0, 0, 0)
        try:
            if row.ports:  # a server
                health(row, process)
            else:
                check_process(process)
        except Unhealthy as reason:
            asks = asks and not row.ports
            sentences.append(
                f"{name} is not healthy: {reason}. The cause may be in {LOGS / name}.log; after a fix, `make up` starts"
                " what has ended."
            )
    return [*sentences, *restarted(rows)], asks


def stopped_by_signal(members: Members) -> dict[str, str]:
    """The numbers of the processes that a signal, such as SIGSTOP, has stopped, by the name of their service."""
    paused = dict[str, list[int]]()
    for process, name in members.items():
        try:
            if process.status() == psutil.STATUS_STOPPED:
                paused.setdefault(name, []).append(process.pid)
        except psutil.NoSuchProcess:
            continue
    return {name: " ".join(map(str, sorted(pids))) for name, pids in paused.items()}


def restarted(rows: Services) -> list[str]:
    """A sentence for each service that was restarted again and again, and a short time ago."""
    found = []
    for name in rows:
        times, seconds = manager.restarts(name), manager.started_ago(name)
        if times >= OFTEN and 0 <= seconds < RECENT:
            found.append(
                f"{name} was restarted {times} times since `make up`, the last time {seconds:.0f} s ago (its last"
                f" message: {last_message(name)}): {LOGS / name}.log has the cause of each end."
            )
    return found
