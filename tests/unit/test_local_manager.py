"""Without Docker: the process manager itself, with services that need neither Java nor a port."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from local_stack import folder, logs, manager, paths, preflight, settings, stop, up
from local_stack.errors import StackError
from local_stack.service import Service

SLEEP = [sys.executable, "-c", "import os, time; print(os.getcwd(), os.environ['WORDS'], flush=True); time.sleep(100)"]
WORDS = """10 seconds # or "so"; 50 % ü\n'it's' $HOME \\"""


@pytest.fixture
def in_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], Path]]:
    """Lets the stack be in another folder, and stops what runs of it in the end."""

    def use(stack: Path) -> Path:
        values = {
            "STACK": stack,
            "DATA": stack / "data",
            "LOGS": stack / "logs",
            "SERVICES": stack / "services",
            "SETTINGS_FILE": stack / "settings.json",
            "CONFIGURATION": stack / "supervisord.conf",
            "SOCKET": paths.socket_path(stack),
            "LOCK": stack / "stack.lock",
            "VENV": Path(sys.prefix),
        }
        for module in (manager, folder, stop, settings, logs, up):
            for name, value in values.items():
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, value)
        (stack / "logs").mkdir(parents=True)
        return stack

    monkeypatch.setattr(preflight, "machine_checks", lambda _: [])
    yield use
    monkeypatch.setattr(psutil.Process, "terminate", psutil.Process.kill)  # nothing is lost here, and it is faster
    manager.stop_members()


@pytest.fixture
def stack(in_folder: Callable[[Path], Path], tmp_path: Path) -> Path:
    return in_folder(tmp_path / "stack")


def service(stack: Path, name: str = "one", command: list[str] = SLEEP, **row: bool) -> Service:
    data = stack / "data" / name
    return Service(name, command, data, lambda _: "well", settings={"WORDS": WORDS}, data=[data], **row)


def start(*services: Service) -> None:
    up.start({row.name: row for row in services}, {})


def wait_for(check: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, check()
        time.sleep(0.05)


def runs(*names: str) -> bool:
    """Whether just these services run, and have written their first line."""
    found = sorted(name for name in manager.members().values() if name != manager.MANAGER)
    texts = [log.read_text() for name in names if (log := stop.LOGS / f"{name}.log").exists()]
    return found == sorted(names) and len(texts) == len(names) and all(WORDS in text for text in texts)


def manager_process() -> psutil.Process:
    return next(process for process, name in manager.members().items() if name == manager.MANAGER)


@pytest.mark.parametrize(
    "name",
    ["100% ünï, #1 ;x/half%sure/%(here)s/a+b=c", 'it\'s "so" $HOME `id` \\n', "a folder whose name is long " * 8],
)
def test_a_stack_runs_in_a_folder_of_any_name(in_folder: Callable[[Path], Path], tmp_path: Path, name: str) -> None:
    stack = in_folder(tmp_path / name)
    start(service(stack))
    log = stack / "logs/one.log"
    wait_for(lambda: log.exists() and log.read_text() == f"{stack / 'data/one'} {WORDS}\n")
    assert manager.processes()["one"].state == "RUNNING"
    start(service(stack))  # the same again: nothing is to be done
    stop.down({})
    assert not manager.members()


def test_the_programs_of_the_environment_that_name_its_first_folder_are_not_used(
    monkeypatch: pytest.MonkeyPatch, stack: Path, tmp_path: Path
) -> None:
    """As in a checkout that was moved."""
    moved = tmp_path / "moved"
    (moved / "bin").mkdir(parents=True)
    (moved / "bin/python").symlink_to(os.path.realpath(sys.executable))
    (moved / "lib").symlink_to(Path(sys.prefix) / "lib")
    (moved / "pyvenv.cfg").write_text((Path(sys.prefix) / "pyvenv.cfg").read_text())
    monkeypatch.setattr(manager, "VENV", moved)
    start(service(stack))
    wait_for(lambda: runs("one"))
    start(service(stack))


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGSTOP])
def test_what_a_lost_process_manager_left_is_named_stopped_and_started_again(
    monkeypatch: pytest.MonkeyPatch, stack: Path, way: signal.Signals
) -> None:
    before = socket.getdefaulttimeout()
    monkeypatch.setattr(manager, "STOP_WAIT", 1)
    start(service(stack), service(stack, "two"))
    wait_for(lambda: runs("one", "two"))
    services = {process for process, name in manager.members().items() if name != manager.MANAGER}
    lost = manager_process()
    lost.send_signal(way)
    socket.setdefaulttimeout(0.3)  # as stack.py does, which waits longer
    try:
        if way == signal.SIGKILL:
            assert manager.still_running([lost], 20) == []
        assert manager.processes() == {}
        with pytest.raises(
            StackError, match=r"was killed or doesn't answer, .*still run .*one.*`make down` stops them"
        ):
            manager.running()
        start(service(stack), service(stack, "two"))
    finally:
        socket.setdefaulttimeout(before)
    assert manager.still_running([lost, *services], 0) == []
    wait_for(lambda: runs("one", "two"))
    manager_process().kill()
    wait_for(lambda: not manager.processes())
    stop.down({})
    assert not manager.members()


UP = """
import sys
from pathlib import Path
from local_stack import manager, preflight, up
from local_stack.paths import DATA
from local_stack.service import Service
manager.VENV = Path(sys.prefix)
preflight.machine_checks = lambda _: []
(DATA.parent / "logs").mkdir(parents=True, exist_ok=True)
row = Service("one", sys.argv[2:], DATA / "one", lambda _: "well", settings={"WORDS": sys.argv[1]}, data=[DATA / "one"])
up.start({"one": row}, {})
"""


def test_ctrl_c_at_any_point_of_a_start_leaves_what_the_next_start_puts_right(
    monkeypatch: pytest.MonkeyPatch, stack: Path
) -> None:
    monkeypatch.setattr(folder, "LOCK_LIMIT", 20)
    environment = os.environ | {"STACK_DIR": str(stack), "PYTHONPATH": os.pathsep.join(sys.path)}
    for tenths in (2, 4, 5, 6, 7, 8, 10, 14):
        words = f"{WORDS} {tenths}"  # another setting each time, as a running stack has to take up
        begun = subprocess.Popen([sys.executable, "-c", UP, words, *SLEEP], env=environment, start_new_session=True)
        time.sleep(tenths / 10)
        with suppress(ProcessLookupError):
            os.killpg(begun.pid, signal.SIGINT)
        begun.wait(timeout=30)
    start(service(stack))
    # While it becomes the service, a process has no environment for a moment.
    wait_for(lambda: runs("one") and sorted(manager.members().values()) == ["one", manager.MANAGER])
    assert manager.processes()["one"].state == "RUNNING"


def test_nothing_is_removed_while_a_process_of_the_stack_is_left(monkeypatch: pytest.MonkeyPatch, stack: Path) -> None:
    start(service(stack))
    wait_for(lambda: runs("one"))
    manager_process().kill()
    with monkeypatch.context() as patch:
        patch.setattr(manager, "STOP_WAIT", 0)
        for end in ("terminate", "kill"):
            patch.setattr(psutil.Process, end, lambda _: None)
        with pytest.raises(StackError, match=r"^one \(process \d+\) can't be stopped"):
            stop.reset({})
    assert (stack / "data/one").is_dir()


@pytest.mark.parametrize("unseen", range(4))
def test_what_becomes_another_program_while_the_stack_stops_is_stopped_too(
    monkeypatch: pytest.MonkeyPatch, stack: Path, unseen: int
) -> None:
    start(service(stack))
    wait_for(lambda: runs("one"))
    process = next(process for process, name in manager.members().items() if name == "one")
    seen, calls = manager.members, itertools.count()

    def members() -> dict[psutil.Process, str]:  # a process has no environment for a moment
        return {each: name for each, name in seen().items() if each != process or next(calls) != unseen}

    with monkeypatch.context() as patch:
        patch.setattr(manager, "members", members)
        patch.setattr(psutil.Process, "terminate", psutil.Process.kill)  # so that the process manager stops nothing
        manager.stop_members()
    assert seen() == {}


# Ends once all others have been asked to end, or, with a third argument, are gone.
WAITS_FOR_OTHERS = """
import pathlib, signal, sys, time
folder, name, *last = sys.argv[1:]
def end(*_):
    (folder / f"{name}.asked").touch()
    while len(list(folder.glob("*.gone" if last else "*.asked"))) < 2:
        time.sleep(0.05)
    (folder / f"{name}.gone").touch()
    sys.exit()
folder = pathlib.Path(folder)
signal.signal(signal.SIGTERM, end)
(folder / f"{name}.runs").touch()
while True:
    time.sleep(0.05)
"""


@pytest.mark.parametrize("without_manager", [False, True])
def test_all_services_are_stopped_at_once_but_those_that_the_others_need(
    monkeypatch: pytest.MonkeyPatch, stack: Path, tmp_path: Path, without_manager: bool
) -> None:
    def row(name: str, last: bool = False) -> Service:
        command = [sys.executable, "-c", WAITS_FOR_OTHERS, str(tmp_path), name, *["last"] * last]
        return service(stack, name, command, stopped_last=last)

    rows = {"server": row("server", last=True), "one": row("one"), "two": row("two")}
    monkeypatch.setattr(stop, "services", lambda _: rows)
    up.start(rows, {})
    wait_for(lambda: len(list(tmp_path.glob("*.runs"))) == len(rows))
    if without_manager:
        manager_process().kill()
    stop.down({})
    assert {path.name for path in tmp_path.glob("*.gone")} == {"server.gone", "one.gone", "two.gone"}


def test_other_stacks_and_other_programs_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, stack: Path, tmp_path: Path
) -> None:
    start(service(stack))
    wait_for(lambda: runs("one"))
    with monkeypatch.context() as patch:
        patch.setattr(manager, "STACK", tmp_path / "another")
        assert manager.members() == {}
        assert manager.stop_members() == []
    assert runs("one")


def test_a_part_that_can_not_start_waits_longer_each_time_and_is_counted(stack: Path) -> None:
    start(service(stack, command=["sh", "-c", "echo no way; exit 3"]))
    wait_for(lambda: manager.restarts("one") == 2)  # the first restart after 1 s, the second 2 s later
    wait_for(lambda: manager.restarts("one") == 3)
    assert manager.waits("one") > 2
    assert (stack / "logs/one.log").read_text() == "no way\n" * 3
    start(service(stack))  # `make up` after a fix: at once
    wait_for(lambda: "seconds" in (stack / "logs/one.log").read_text())
    assert manager.restarts("one") == manager.waits("one") == 0


def test_a_restart_after_make_up_has_changed_nothing_is_counted(stack: Path) -> None:
    start(service(stack))
    wait_for(lambda: runs("one"))
    start(service(stack))
    assert manager.restarts("one") == 0
    psutil.Process(manager.processes()["one"].pid).kill()
    wait_for(lambda: manager.restarts("one") == 1)


def test_make_up_repeats_the_one_shots_that_set_things_right_and_no_others(stack: Path) -> None:
    def row(name: str, every_up: bool) -> Service:
        return service(stack, name, ["sh", "-c", "echo done"], one_shot=True, every_up=every_up)

    def times(name: str) -> int:
        log = stack / f"logs/{name}.log"
        return log.read_text().count("done") if log.exists() else 0

    rows = row("topics", True), row("generator", False)
    start(*rows)
    wait_for(lambda: [process.finished for process in manager.processes().values()] == [True, True])
    start(*rows)
    wait_for(lambda: times("topics") == 2)
    wait_for(lambda: [process.finished for process in manager.processes().values()] == [True, True])
    assert (times("topics"), times("generator")) == (2, 1)


def test_a_stack_of_another_user_is_named(monkeypatch: pytest.MonkeyPatch, stack: Path) -> None:
    start(service(stack))
    wait_for(lambda: runs("one"))
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(
        StackError, match=r"was started by user \d+, and this command runs as user 4711: run it as that"
    ):
        manager.processes()


def test_a_stack_whose_folder_was_moved_while_it_ran_is_named_and_can_be_stopped(
    monkeypatch: pytest.MonkeyPatch, in_folder: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    tmp_path = tmp_path_factory.mktemp("m")  # short, so that the socket is in the stack's folder and moves with it
    first = in_folder(tmp_path / "first")
    start(service(first))
    wait_for(lambda: runs("one"))
    processes = list(manager.members())
    moved = first.rename(tmp_path / "moved")
    (tmp_path / "unused").mkdir()
    in_folder(tmp_path / "unused/stack")
    for name in ("STACK", "DATA", "LOGS", "SERVICES", "CONFIGURATION", "SOCKET"):
        monkeypatch.setattr(manager, name, moved / getattr(manager, name).relative_to(tmp_path / "unused/stack"))
    try:
        with pytest.raises(StackError, match="was moved while the stack was running: `make down`, then `make up`"):
            start(service(moved))
        stop.down({})
    finally:
        left = manager.still_running(processes, 5)
        for process in left:
            process.kill()
    assert not left
