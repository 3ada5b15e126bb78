"""What is installed without Docker, and what it asks of a machine."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rooms import ROOT

import install


def test_without_java_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="Java 17 or 21 is needed, and there is no java on the PATH: install it"):
        install.java()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(SystemExit, match=f"JAVA_HOME is {tmp_path}, but there is no bin/java in it"):
        install.java()


def test_another_java_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin/java"
    fake.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    fake.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(SystemExit, match="is version 11"):
        install.java()


def test_without_maven_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="there is no mvn on the PATH: install it"):
        install.maven()


@pytest.mark.parametrize("verb", ["status", "verify", "down", "reset"])
def test_a_verb_that_needs_a_stack_installs_nothing(tmp_path: Path, verb: str) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    made = subprocess.run(["make", "-C", str(tmp_path), verb, "PYTHON=false"], capture_output=True, text=True)
    assert made.returncode != 0
    assert "Nothing is installed yet: `make up`" in made.stderr


def test_packages_that_can_not_be_had_leave_those_that_are_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = tmp_path / "venv-before"
    before.mkdir()
    link = tmp_path / "venv"
    link.symlink_to("venv-before")
    for name, path in (("LOCAL", tmp_path), ("JARS", tmp_path / "jars"), ("VENV", before)):
        monkeypatch.setattr(install, name, path)
    monkeypatch.setattr(install, "maven", lambda: "mvn")

    def fail(what: str, _command: list[str]) -> None:
        sys.exit(f"{what} could not be installed")

    monkeypatch.setattr(install, "run", fail)
    with pytest.raises(SystemExit, match="could not be installed"):
        install.main()
    assert link.resolve() == before


def test_new_packages_leave_those_that_a_stack_may_run_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    link = tmp_path / "venv"
    link.mkdir()  # as it was once made
    for name in ("venv-a", "venv-b"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(install, "LOCAL", tmp_path)
        monkeypatch.setattr(install, "VENV", link.resolve())
        install.use(tmp_path / name)
        assert link.resolve() == tmp_path / name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["venv", "venv-a", "venv-b"]


def test_old_jars_don_t_stay_beside_new_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(install, "JARS", tmp_path / "jars")
    monkeypatch.setattr(install, "run", lambda *_: None)
    monkeypatch.setattr(install, "maven", lambda: "mvn")
    own, spark = tmp_path / "jars/kafka", tmp_path / "pyspark/jars"
    for target in (own, spark):
        target.mkdir(parents=True)
        (target / "old.jar").touch()
        install.install_jars("jars", tmp_path / "pom.xml", target)
    assert not list(own.iterdir())
    assert list(spark.iterdir())
