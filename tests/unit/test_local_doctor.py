"""Without Docker: what `make doctor` finds, prints and returns."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from local_stack import doctor, logs, manager, preflight, services, settings, start
from local_stack.errors import NotAllowed, StackError, Unhealthy
from local_stack.manager import FOLDER_VARIABLE, MANAGER, NAME_VARIABLE
from local_stack.service import Process, Service

PORT = {"ROUTER_PORT": 1}
RUNS = {"one": Process("one", "RUNNING", 1, 0, 0), "two": Process("two", "RUNNING", 2, 0, 0)}


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of a stack of which nothing runs, on a machine without a fault."""
    for name, path in (("STACK", tmp_path), ("SERVICES", tmp_path), ("SOCKET", tmp_path / "socket")):
        monkeypatch.setattr(manager, name, path)
    for module in (logs, doctor):
        monkeypatch.setattr(module, "LOGS", tmp_path)
    monkeypatch.setattr(settings, "SETTINGS_FILE", tmp_path / "settings.json")
    monkeypatch.setattr(preflight, "NEEDED_DISK", 0)
    monkeypatch.setattr(preflight, "configuration_checks", lambda _: [])
    monkeypatch.setattr(preflight, "machine_checks", lambda _: [preflight.check_disk])
    return tmp_path


@pytest.fixture
def process(stack: Path) -> Iterator[Callable[[str], psutil.Process]]:
    """Starts a process of the stack, by the name of its service; killed in the end."""
    started = []

    def start_one(name: str) -> psutil.Process:
        environment = os.environ | {FOLDER_VARIABLE: str(stack), NAME_VARIABLE: name}
        one = subprocess.Popen([sys.executable, "-c", "input()"], env=environment, stdin=subprocess.PIPE)
        started.append(one)
        process = psutil.Process(one.pid)
        wait_until(lambda: NAME_VARIABLE in process.environ())  # a moment after the start it has none
        return process

    yield start_one
    for one in started:
        one.kill()
        one.communicate()


def pause(process: psutil.Process) -> None:
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: process.status() == psutil.STATUS_STOPPED)


def wait_until(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def unhealthy(reason: str, *_: object) -> str:
    raise Unhealthy(reason)


def row(name: str, reason: str = "", **fields: Any) -> Service:
    return Service(name, ["true"], Path("/"), partial(unhealthy, reason) if reason else lambda _: "ready", **fields)


def look(
    *rows: Service, members: Mapping[psutil.Process, str] | None = None, looked_at: Collection[str] = ()
) -> tuple[list[str], bool]:
    return doctor.process_findings({each.name: each for each in rows}, members or {}, looked_at)


def test_a_process_that_was_stopped_by_a_signal_is_named_with_the_command_that_helps(
    monkeypatch: pytest.MonkeyPatch, process: Callable[[str], psutil.Process]
) -> None:
    monkeypatch.setattr(manager, "processes", lambda: RUNS)
    paused = process("one")
    process("two")
    pause(paused)
    members = manager.members()
    assert sorted(members.values()) == ["one", "two"]
    # That it doesn't answer is not said a second time, and the others, which depend on it, are not asked.
    found = look(row("one", "no answer", ports=PORT), row("two"), members=members)
    sentence = f"one was stopped by a signal: `kill -CONT {paused.pid}` lets it go on."
    assert found == ([sentence], False)


def test_a_stopped_process_manager_is_all_that_is_said(
    monkeypatch: pytest.MonkeyPatch, process: Callable[[str], psutil.Process]
) -> None:
    monkeypatch.setattr(manager, "processes", lambda: pytest.fail("it would not answer"))
    pause(process(MANAGER))
    (sentence,), asks = look(row("one"), row("two"), members=manager.members())
    assert sentence.startswith(f"{MANAGER} was stopped by a signal")
    assert not asks


def test_a_killed_process_manager_is_named(process: Callable[[str], psutil.Process]) -> None:
    process("one")
    (sentence,), asks = look(row("one"), members=manager.members())
    assert "The process manager was killed or doesn't answer, and parts of the stack still run (one)" in sentence
    assert not asks


def test_servers_are_asked_and_what_scripts_have_done_is_left_to_the_look_at_kafka_and_druid(
    monkeypatch: pytest.MonkeyPatch, stack: Path
) -> None:
    monkeypatch.setattr(manager, "processes", lambda: RUNS)
    log = f"The cause may be in {stack}/one.log; after a fix, `make up` starts what has ended."
    assert look(row("one", "no answer", ports=PORT)) == ([f"one is not healthy: no answer. {log}"], False)
    assert look(row("one", "supervisor x is SUSPENDED", one_shot=True)) == ([], True)


def test_a_script_that_failed_is_named_unless_its_state_file_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, stack: Path
) -> None:
    (stack / "one.log").write_text("2026-11-26T00:08:04.123Z ERROR one: NUM_ENTITIES is 0.\n")
    monkeypatch.setattr(manager, "processes", lambda: {"one": Process("one", "EXITED", 0, 2, 0)})
    service = row("one", state_file=stack / "one.json")
    (sentence,), asks = look(service)
    assert sentence.startswith("one is not healthy: exited (NUM_ENTITIES is 0.). ")
    assert asks
    assert look(service, looked_at=[str(stack / "one.json")]) == ([], True)
    (sentence,), asks = look(row("two"))
    assert sentence.startswith("two is not healthy: stopped. ")


@pytest.mark.parametrize(("restarts", "ago", "said"), [(2, 10, False), (3, 10, True), (3, 700, False), (9, -5, False)])
def test_a_service_that_is_restarted_often_is_named_with_its_last_message(
    monkeypatch: pytest.MonkeyPatch, stack: Path, restarts: int, ago: float, said: bool
) -> None:
    monkeypatch.setattr(manager, "processes", lambda: RUNS)
    (stack / "one.log").write_text("2026-11-26T00:08:04.123Z ERROR one: No space.\n")
    state = {"restarts": restarts, "short_lives": 0, "at": time.time() - ago}
    start.starts_file(stack / "one.json").write_text(json.dumps(state))
    sentence = (
        rf"one was restarted {restarts} times since `make up`, the last time 1\d s ago \(its last message: No space\.\)"
    )
    found = [each for each in look(row("one"), row("two"))[0] if "restarted" in each]
    assert len(found) == int(said)
    assert all(re.match(sentence, each) for each in found)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The settings that doctor/doctor.py was run with, each time."""
    calls: list[dict[str, str]] = []

    def run(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        assert command[1].endswith("doctor/doctor.py")
        calls.append(env)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def test_without_a_stack_the_machine_and_the_settings_are_checked(
    stack: Path, script: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor.doctor({}) == 0
    said = "the settings, the stack's folder, schemas/, this machine. The stack is not running: `make up` starts it.\n"
    assert capsys.readouterr().out == f"Nothing was found. Checked: {said}"
    assert not script
    assert not list(stack.iterdir())


def test_a_kafka_of_the_users_own_is_looked_at_without_a_stack(stack: Path, script: list[dict[str, str]]) -> None:
    assert doctor.doctor({"KAFKA_BOOTSTRAP_SERVERS": "kafka.test:1"}) == 0
    assert [call["KAFKA_BOOTSTRAP_SERVERS"] for call in script] == ["kafka.test:1"]


@pytest.mark.parametrize("error", [StackError, NotAllowed])
def test_what_is_found_is_printed_and_returned(
    monkeypatch: pytest.MonkeyPatch,
    stack: Path,
    script: list[dict[str, str]],
    capsys: pytest.CaptureFixture[str],
    error: type[StackError],
) -> None:
    def fail() -> None:
        raise error("One.", "Two.")

    monkeypatch.setattr(preflight, "configuration_checks", lambda _: [fail, fail])
    assert doctor.doctor({"KAFKA_BOOTSTRAP_SERVERS": "kafka.test:1"}) == error.exit_code
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["One.", "Two."]
    assert said[2].startswith("Checked: ")
    assert len(script) == (error is StackError)  # with a bad setting nothing can be asked


def test_a_running_stack_is_checked_with_its_own_settings(
    monkeypatch: pytest.MonkeyPatch,
    stack: Path,
    process: Callable[[str], psutil.Process],
    script: list[dict[str, str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings.save({"DRUID_URL": "http://druid.test"})
    process("one")
    monkeypatch.setattr(manager, "processes", lambda: RUNS)
    rows = {"one": row("one")}
    monkeypatch.setattr(preflight, "NEEDED_DISK", 1e18)
    monkeypatch.setattr(services, "services", lambda _: rows)
    assert doctor.doctor({}) == 0
    assert capsys.readouterr().out.endswith("schemas/, this machine, 1 services.\n")
    assert script[-1]["DRUID_URL"] == "http://druid.test"

    rows["one"] = row("one", "no answer", ports=PORT)
    assert doctor.doctor({}) == 1
    assert len(script) == 1  # Kafka and Druid wouldn't answer
    said = capsys.readouterr().out
    assert "are free on the disk" in said  # what doctor.py would have looked at
    assert said.endswith("Kafka, Druid and the windows job are checked when their processes run.\n")

    settings.SETTINGS_FILE.write_text("{")
    assert doctor.doctor({}) == 1
    assert "settings.json can't be read" in capsys.readouterr().out
