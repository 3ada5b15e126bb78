"""Files that are written as a whole, on a disk with and without space."""

import errno
from pathlib import Path

import pytest
from service.files import write_whole


def test_the_old_file_stays_as_it_is_while_a_reader_has_it(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_whole(path, "old")
    with path.open() as before:
        write_whole(path, "new ü")
        assert before.read() == "old"
    assert path.read_text(encoding="utf-8") == "new ü"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_whole(path, "old")
    fill_disk(monkeypatch)
    with pytest.raises(OSError, match=rf"No space left on device: '{path}'"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_may_hold_a_password_is_its_owners_only(tmp_path: Path) -> None:
    path = tmp_path / "derby.args"
    (tmp_path / "derby.args.new").touch(0o644)  # left by a process that was killed
    write_whole(path, "password", mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each file be opened, and truncated if so asked for, and nothing be written: as on a full disk."""

    def write_text(path: Path, *_: object, **__: object) -> int:
        path.open("w").close()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", write_text)
