"""Without Docker: which Java is found and taken, and what is said of another one."""

from pathlib import Path

import pytest
from local_stack import java
from local_stack.errors import StackError


def test_without_java_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match="Java 17 or 21 is needed, and there is no java on the PATH: install it"):
        java.check_java()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(StackError, match=f"JAVA_HOME is {tmp_path}, but there is no bin/java in it"):
        java.check_java()


@pytest.mark.parametrize(
    ("output", "found"), [('openjdk version "11.0.2" 2019-01-15', "version 11"), ("hello", "of an unknown version")]
)
def test_another_java_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, output: str, found: str) -> None:
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin/java"
    fake.write_text(f"#!/bin/sh\necho '{output}' >&2\n")
    fake.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(StackError, match=f"is {found}"):
        java.check_java()


def shim(folder: Path, script: str) -> Path:
    """A script named java, as of jenv or asdf."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "java"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_a_script_that_starts_java_is_asked_for_the_java_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shim(tmp_path / "shims", f"printf 'Property settings:\\n    java.home = {tmp_path}/a jdk\\n' >&2")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "shims"))
    assert java.java() == f"{tmp_path}/a jdk/bin/java"


def test_java_itself_is_not_started_to_find_it_and_links_to_it_are_followed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = shim(tmp_path / "jdk/bin", "touch $0.started")
    (tmp_path / "jdk/lib").mkdir()
    (tmp_path / "jdk/lib/modules").touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/java").symlink_to(real)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert java.java() == str(real)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert java.java() == str(real)
    assert not (tmp_path / "jdk/bin/java.started").exists()


def test_a_script_that_can_not_start_java_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shim(tmp_path / "shims", "echo 'No version is set for command java'; exit 126")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "shims"))
    with pytest.raises(StackError, match=r"unknown version \(No version is set for command java\)"):
        java.check_java()
