"""Without Docker: the verbs, what they print and what they remove."""

import json
import logging
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from xmlrpc.client import Fault

import pytest
import stack
from local_stack import folder as folders
from local_stack import logs, manager, preflight, settings, status, up
from local_stack.errors import StackError
from local_stack.service import Process, Service


def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("processes", "members"):
        monkeypatch.setattr(manager, name, dict)


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """stack.py with the verb status, in a folder of its own; the logging of the tests is put back."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    for module in (folders, logs):
        monkeypatch.setattr(module, "LOGS", tmp_path / "stack/logs")
    monkeypatch.setattr(folders, "STACK", tmp_path / "stack")
    monkeypatch.setattr(folders, "LOCK", tmp_path / "stack/stack.lock")
    monkeypatch.setattr(settings, "SETTINGS_FILE", tmp_path / "stack/settings.json")
    monkeypatch.setattr(sys, "argv", ["stack.py", "status"])
    monkeypatch.delenv("MAKEFLAGS", raising=False)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    yield monkeypatch
    for handler in root.handlers:
        with suppress(OSError):  # the log that is on a full disk
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_an_error_is_one_sentence_in_the_terminal_and_a_line_in_the_log(
    main: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing_runs(main)
    assert stack.main() == 1
    assert not (tmp_path / "stack").exists()
    (tmp_path / "stack/logs").mkdir(parents=True)
    assert stack.main() == 1
    assert capsys.readouterr().err == "The stack is not running: `make up` starts it.\n" * 2
    log = (tmp_path / "stack/logs/local.log").read_text()
    assert log.endswith("Z ERROR local: The stack is not running: `make up` starts it.\n")
    assert len(log.splitlines()) == 1


def test_a_full_disk_does_not_hide_what_a_verb_says(
    main: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing_runs(main)
    (tmp_path / "stack/logs").mkdir(parents=True)
    (tmp_path / "stack/logs/local.log").symlink_to("/dev/full")
    assert stack.main() == 1
    assert capsys.readouterr().err == "The stack is not running: `make up` starts it.\n"


def test_a_name_that_is_no_setting_ends_a_verb_before_it_does_anything(
    main: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main.setattr(sys, "argv", ["stack.py", "up"])
    main.setenv("MAKEFLAGS", " -- NUM_ENTITES=7")
    assert stack.main() == 2
    assert "did you mean NUM_ENTITIES?" in capsys.readouterr().err
    assert not (tmp_path / "stack").exists()


def test_a_stack_that_is_being_stopped_is_named(main: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stopping() -> None:
        raise Fault(6, "SHUTDOWN_STATE")

    main.setattr(manager, "processes", stopping)
    assert stack.main() == 1
    assert "refuses (SHUTDOWN_STATE): is another command stopping the stack?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "/data/one"), "No space left on device: '/data/one'. Check who owns"),
        (KeyboardInterrupt(), "goes on in the background"),
    ],
)
def test_what_ends_a_verb_early_is_one_sentence(
    main: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, said: str
) -> None:
    def fail(_: Mapping[str, str]) -> None:
        raise error

    main.setitem(stack.VERBS, "status", fail)
    assert stack.main() == 1
    printed = capsys.readouterr().err
    assert said in printed
    assert len(printed.strip().splitlines()) == 1


def test_an_interrupted_reset_says_that_it_must_be_repeated(
    main: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: Mapping[str, str]) -> None:
        raise KeyboardInterrupt

    main.setattr(sys, "argv", ["stack.py", "reset"])
    main.setitem(stack.VERBS, "reset", interrupt)
    assert stack.main() == 1
    assert "run `make reset` again before the next start" in capsys.readouterr().err


def test_a_verb_uses_the_settings_that_the_stack_was_started_with(main: pytest.MonkeyPatch) -> None:
    settings.save({"ROUTER_PORT": "9", "NUM_ENTITIES": "7"})
    main.setenv("NUM_ENTITIES", "8")
    seen: list[Mapping[str, str]] = []
    main.setitem(stack.VERBS, "status", seen.append)
    stack.main()
    assert (seen[0]["ROUTER_PORT"], seen[0]["NUM_ENTITIES"]) == ("9", "8")


def stack_of(monkeypatch: pytest.MonkeyPatch, folder: Path, *names: str) -> dict[str, Process]:
    """Lets `make status` see services that run; returns what the process manager knows."""
    known = {name: Process(name, "RUNNING", 0, 0, 0) for name in names}
    monkeypatch.setattr(manager, "processes", lambda: known)
    monkeypatch.setattr(manager, "rpc", lambda: SimpleNamespace(getPID=lambda: 0))
    rows = {name: Service(name, ["true"], folder, lambda _: "ready") for name in names}
    monkeypatch.setattr(status, "services", lambda _: rows)
    data = SimpleNamespace(datasources={}, druid=SimpleNamespace(console="http://druid"))
    monkeypatch.setattr(status, "pipeline", lambda _: data)
    monkeypatch.setattr(status, "STACK", folder)
    return known


def test_a_service_that_an_interrupted_make_up_removed_is_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del stack_of(monkeypatch, tmp_path, "one", "two")["two"]
    with pytest.raises(StackError, match=r"^Not healthy: two\."):
        status.status({})
    assert "NOT HEALTHY: stopped" in capsys.readouterr().out


def test_status_shows_how_often_a_part_was_restarted_and_the_free_disk_space(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stack_of(monkeypatch, tmp_path, "one", "two")
    monkeypatch.setattr(manager, "restarts", {"one": 0, "two": 7}.get)
    status.status({})
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("  ready")
    assert lines[2].endswith("  ready (restarted 7 times since `make up`)")
    assert re.fullmatch(rf"free disk space: [\d,]+\.\d GiB for {tmp_path}", lines[-1])


@pytest.mark.parametrize(("free", "words"), [(0, "The disk is full: free some"), (2**30, None)])
def test_status_says_that_the_disk_is_full(free: int, words: str | None) -> None:
    line = status.disk_space(free)
    assert line.startswith(f"free disk space: {free / 2**30:.1f} GiB for ")
    assert (words in line) if words else "full" not in line


def test_verify_returns_the_exit_code_of_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def run(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        calls.append((command, env))
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr(subprocess, "run", run)
    assert status.verify({"WAIT": "60", "KAFKA_BOOTSTRAP_SERVERS": "kafka.test:1"}) == 3
    ((command, env),) = calls
    assert command[1].endswith("ledger/verify.py")
    assert (env["WAIT"], env["KAFKA_BOOTSTRAP_SERVERS"]) == ("60", "kafka.test:1")


def test_verify_needs_a_stack_that_runs_unless_the_user_sets_the_address_of_kafka(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(
        subprocess, "run", lambda command, **_: ran.append(command[1]) or subprocess.CompletedProcess(command, 0)
    )
    nothing_runs(monkeypatch)
    with pytest.raises(StackError, match=r"^The stack is not running: `make up` starts it\.$"):
        status.verify({})
    assert not ran
    assert status.verify({"KAFKA_BOOTSTRAP_SERVERS": "kafka.test:1"}) == 0
    monkeypatch.setattr(manager, "processes", lambda: {"kafka0": Process("kafka0", "RUNNING", 1, 0, 0)})
    assert status.verify({}) == 0
    assert len(ran) == 2


def test_make_up_names_all_that_prevents_a_start_and_creates_nothing(
    main: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing_runs(main)
    (tmp_path / "stack").mkdir()
    (tmp_path / "stack/letter.txt").touch()
    main.setattr(sys, "argv", ["stack.py", "up"])
    main.setenv("MAKEFLAGS", " -- NUM_ENTITES=7 KAFKA_PROT=1")
    main.setattr(preflight, "check_contract", lambda: None)
    main.setattr(preflight, "NEEDED_DISK", 1e18)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        main.setenv("ROUTER_PORT", str(port))
        assert stack.main() == 2
    said = capsys.readouterr().err.splitlines()
    for part in (
        "NUM_ENTITES is not",
        "KAFKA_PROT is not",
        "STACK_DIR is",
        f"Port {port}, ",
        "GiB are free on the disk",
    ):
        assert len([line for line in said if part in line]) == 1, said
    assert [path.name for path in (tmp_path / "stack").iterdir()] == ["letter.txt"]


class Started:
    """Stands in for the process manager: notes what it was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, running: bool) -> None:
        self.calls: list[str] = []
        one = {"one": Process("one", "RUNNING", 1, 0, 0)}
        monkeypatch.setattr(manager, "processes", lambda: one if running else {})
        for name in ("start", "update"):
            monkeypatch.setattr(manager, name, lambda _, name=name: self.calls.append(name))
        monkeypatch.setattr(manager, "stop_members", lambda _: [])
        monkeypatch.setattr(preflight, "machine_checks", lambda _: [lambda: self.calls.append("preflight")])


@pytest.mark.parametrize(("running", "calls"), [(False, ["preflight", "start"]), (True, ["update"])])
def test_the_settings_that_a_stack_is_started_with_are_kept_and_logged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, running: bool, calls: list[str]
) -> None:
    monkeypatch.setattr(settings, "SETTINGS_FILE", tmp_path / "settings.json")
    for name, path in (("STACK", tmp_path), ("LOCK", tmp_path / "stack.lock")):
        monkeypatch.setattr(folders, name, path)
    caplog.set_level(logging.INFO)
    started = Started(monkeypatch, running)
    row = Service("one", ["true"], tmp_path, lambda _: "well", settings={"NUM_ENTITIES": None})
    up.start({"one": row}, {"NUM_ENTITIES": "7", "KAFKA_PORT": "1", "PATH": "/bin"})
    assert started.calls == calls
    given = {"NUM_ENTITIES": "7", "KAFKA_PORT": "1"}
    assert json.loads((tmp_path / "settings.json").read_text()) == given
    assert caplog.messages == ["settings from the environment: NUM_ENTITIES=7, KAFKA_PORT=1"]


def test_a_service_that_fails_ends_the_wait_with_its_last_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(logs, "LOGS", tmp_path)
    (tmp_path / "one.log").write_text("2026-11-26T00:08:04.123Z ERROR one: WINDOW_DURATION is 'soon'.\n")
    monkeypatch.setattr(manager, "processes", lambda: {"one": Process("one", "EXITED", 0, 2, 0)})
    with pytest.raises(StackError, match=r"^one could not be started: WINDOW_DURATION is 'soon'\.$"):
        up.wait_until_healthy([Service("one", ["true"], tmp_path, lambda _: "well")], 0)
