"""Without Docker: what `make down` stops and `make reset` removes."""

from pathlib import Path
from types import SimpleNamespace
from xmlrpc.client import Fault

import pytest
from local_stack import folder as folders
from local_stack import manager, servers, services, stop
from local_stack.errors import StackError
from local_stack.service import Process, Service


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A stack's folder as it is after `make down`."""
    folder = tmp_path / "stack"
    for name in ("kafka/log", "zookeeper", "druid/var", "pyspark/checkpoint", "generator", "ledger"):
        (folder / "data" / name).mkdir(parents=True)
    (folder / "logs").mkdir()
    for name in ("logs/kafka0.log", "logs/kafka0.log.1", "logs/local.log", "supervisord.conf", "settings.json"):
        (folder / name).touch()
    (folder / "services").mkdir()
    for name in ("kafka.properties", "zookeeper.properties", "data/druid/var/x", "data/ledger/ledger.json"):
        (folder / name).touch()
    for name in ("stack.lock", "services/kafka0.json", "services/kafka0.starts"):
        (folder / name).touch()
    for name, path in (("STACK", folder), ("DATA", folder / "data"), ("LOGS", folder / "logs")):
        for module in (stop, services, servers, folders):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, path)
    monkeypatch.setattr(folders, "LOCK", folder / "stack.lock")
    monkeypatch.setattr(stop, "SOCKET", folder / "supervisor.sock")
    for name in ("processes", "members"):  # nothing runs
        monkeypatch.setattr(manager, name, dict)
    return folder


def test_reset_removes_what_the_stack_made(folder: Path) -> None:
    stop.reset({})
    assert not folder.exists()
    stop.reset({})


def test_reset_leaves_what_others_have_in_its_folder(folder: Path) -> None:
    (folder / "data/photos").mkdir()
    (folder / "letter.txt").touch()
    stop.reset({})
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    assert left == ["data", "data/photos", "letter.txt"]


def test_reset_leaves_the_users_own_paths(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/state.json").touch()
    stop.reset(
        {"CHECKPOINT_LOCATION": str(tmp_path / "mine"), "GENERATOR_STATE_FILE": str(tmp_path / "mine/state.json")}
    )
    assert (tmp_path / "mine/state.json").exists()
    assert not folder.exists()


def test_reset_names_what_it_could_not_remove(folder: Path) -> None:
    (folder / "data/kafka/log").rmdir()
    (folder / "data/kafka").rmdir()
    (folder / "data/kafka").symlink_to(folder / "logs")
    with pytest.raises(StackError, match="Not all data could be removed .*symbolic link"):
        stop.reset({})


def test_a_service_that_ends_while_all_are_stopped_does_not_keep_the_others_running(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[str] = []

    def stop_process(name: str, _: bool) -> None:
        stopped.append(name)
        if name == "one":
            raise Fault(70, "NOT_RUNNING: one")

    def processes() -> dict[str, Process]:
        return {name: Process(name, "STOPPED" if name in stopped else "RUNNING", 1, 0, 0) for name in ("one", "two")}

    rpc = SimpleNamespace(getPID=lambda: 0, stopProcess=stop_process, shutdown=lambda: stopped.append("the manager"))
    monkeypatch.setattr(manager, "rpc", lambda: rpc)
    monkeypatch.setattr(manager, "processes", processes)
    monkeypatch.setattr(manager, "still_running", lambda *_: [])
    monkeypatch.setattr(stop, "services", lambda _: {n: Service(n, [], folder, str) for n in ("one", "two")})
    stop.down({})
    assert stopped == ["one", "two", "the manager"]


def test_what_does_not_end_in_time_is_left_to_the_process_managers_shutdown(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    rpc = SimpleNamespace(
        getPID=lambda: 0, stopProcess=lambda name, _: called.append(name), shutdown=lambda: called.append("the manager")
    )
    monkeypatch.setattr(manager, "rpc", lambda: rpc)
    monkeypatch.setattr(manager, "processes", lambda: {"one": Process("one", "STOPPING", 1, 0, 0)})
    monkeypatch.setattr(manager, "still_running", lambda *_: [])
    monkeypatch.setattr(stop, "services", lambda _: {"one": Service("one", [], folder, str)})
    monkeypatch.setattr(stop, "STOP_LIMIT", 0.2)
    stop.down({})
    assert called == ["one", "the manager"]


def test_a_process_manager_that_is_killed_meanwhile_is_no_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise ConnectionRefusedError

    members: list[str] = []
    monkeypatch.setattr(manager, "rpc", lambda: SimpleNamespace(getPID=lambda: 0, stopProcess=gone, shutdown=gone))
    states = iter([{"one": Process("one", "RUNNING", 1, 0, 0)}])
    monkeypatch.setattr(manager, "processes", lambda: next(states, {}))
    monkeypatch.setattr(manager, "still_running", lambda *_: [])
    monkeypatch.setattr(manager, "stop_members", lambda rows: members.extend(row.name for row in rows))
    monkeypatch.setattr(stop, "services", lambda _: {"one": Service("one", [], folder, str)})
    stop.down({})
    assert members == ["one"]
