"""Without Docker: the stack's folder, before the first start and with two commands at once."""

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest
from local_stack import folder, stop
from local_stack.errors import NotAllowed, StackError
from repository import assert_one_sentence


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where a stack's folder may be made, outside of .local/."""
    use(monkeypatch, tmp_path / "stack")
    return tmp_path / "stack"


def use(monkeypatch: pytest.MonkeyPatch, stack: Path) -> None:
    for name, path in (("STACK", stack), ("LOGS", stack / "logs"), ("LOCK", stack / "stack.lock")):
        monkeypatch.setattr(folder, name, path)
    monkeypatch.setattr(stop, "STACK", stack)


def test_a_new_an_empty_and_a_stacks_own_folder_are_taken(stack: Path) -> None:
    assert not folder.is_stack()
    folder.check()
    assert not stack.exists()
    folder.claim()
    (stack / "data/kafka").mkdir(parents=True)
    folder.claim()
    assert folder.is_stack()
    (stack / "data/kafka").rmdir()
    for path in ("data", "logs"):
        (stack / path).rmdir()
    folder.LOCK.unlink()
    folder.claim()


def test_a_folder_with_other_peoples_files_is_refused_and_nothing_in_it_is_removed(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (stack / "data/kafka").mkdir(parents=True)
    (stack / "settings.json").touch()
    with pytest.raises(NotAllowed):
        folder.check()
    with pytest.raises(NotAllowed, match=r"which holds files of other programs \(data, settings\.json\): set it to a"):
        folder.claim()
    stop.reset({})
    assert (stack / "data/kafka").is_dir()
    assert (stack / "settings.json").exists()
    assert not (stack / "logs").exists()
    assert "There is no data of a stack" in capsys.readouterr().out


def test_the_default_folder_is_a_stacks_own_whatever_is_in_it(monkeypatch: pytest.MonkeyPatch, stack: Path) -> None:
    monkeypatch.setattr(folder, "LOCAL", stack.parent)
    (stack / "data").mkdir(parents=True)  # of a first start that ended early
    folder.claim()


def test_a_file_is_no_folder(stack: Path) -> None:
    stack.touch()
    with pytest.raises(NotAllowed, match="which is a file"):
        folder.claim()


def test_a_folder_of_another_user_is_named_with_its_owner(monkeypatch: pytest.MonkeyPatch, stack: Path) -> None:
    folder.claim()
    (stack / "data").mkdir()
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).name != "data")
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(
        StackError, match=r"data can't be used .* belongs to \w+, and this command runs as user 4711"
    ) as e:
        folder.claim()
    assert_one_sentence(str(e.value))


def test_a_place_where_no_folder_can_be_made_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Path("/proc/stack"))
    with pytest.raises(StackError, match=r"^/proc/stack.* can't be used .*: .* set STACK_DIR"):
        folder.claim()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errno.ENOSPC, r"\(No space left on device\): check its disk"),
        (errno.EACCES, r"\(Permission denied\): .* belongs to"),
    ],
)
def test_only_a_lack_of_permission_is_a_matter_of_the_owner(
    monkeypatch: pytest.MonkeyPatch, stack: Path, error: int, words: str
) -> None:
    def fail(path: Path, **_: object) -> None:
        raise OSError(error, os.strerror(error), str(path))

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(StackError, match=rf"^{stack}/logs can't be used {words}"):
        folder.claim()


def test_a_folder_above_that_is_another_users_is_named(monkeypatch: pytest.MonkeyPatch, stack: Path) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != stack.parent)
    with pytest.raises(
        StackError, match=rf"{stack.parent} can't be used \(no permission to write\): {stack.parent} bel"
    ):
        folder.check()


def test_a_second_command_waits_and_names_the_first(
    monkeypatch: pytest.MonkeyPatch, stack: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(folder, "LOCK_LIMIT", 0.3)
    caplog.set_level("INFO")
    with (
        folder.exclusive(),
        pytest.raises(StackError, match=rf"another command \(process {os.getpid()}\)"),
        folder.exclusive(),
    ):
        pass
    assert len(caplog.messages) == 1
    with folder.exclusive():
        pass


def test_a_command_has_the_stack_for_itself_on_a_full_disk_too(stack: Path) -> None:
    stack.mkdir()
    folder.LOCK.symlink_to("/dev/full")
    with folder.exclusive():
        pass


def test_a_lock_that_a_reset_removed_meanwhile_does_not_count(monkeypatch: pytest.MonkeyPatch, stack: Path) -> None:
    flock, calls = fcntl.flock, []

    def removed_meanwhile(file: Any, how: int) -> None:
        flock(file, how)
        calls.append(how)
        if len(calls) == 1:
            folder.LOCK.unlink()
            stack.rmdir()

    monkeypatch.setattr(fcntl, "flock", removed_meanwhile)
    with folder.exclusive():
        assert folder.LOCK.exists()
    assert len(calls) == 2
