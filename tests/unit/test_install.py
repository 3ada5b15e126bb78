"""What is installed without Docker, and what it asks of a machine."""

import ast
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import install
import pytest
from local_stack import java
from local_stack.errors import StackError
from repository import ROOT, assert_one_sentence


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


@pytest.mark.parametrize("name", ["a:b", "a\nb", "a\udcff"])
def test_a_folder_that_python_or_java_can_not_have_in_a_path_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setattr(install, "ROOT", tmp_path / name)
    with pytest.raises(StackError, match="with a colon, a line break or bytes .*: rename or move the folder") as error:
        install.main(["--packages"])
    assert_one_sentence(str(error.value))


def test_a_python_without_virtual_environments_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Debian's, which has venv but not what it needs."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(StackError, match=r"can't make virtual environments: .*apt-get install python3\.\d+-venv\)"):
        install.main(["--packages"])


def test_two_installations_at_once_wait_for_each_other(monkeypatch: pytest.MonkeyPatch, local: Path) -> None:
    monkeypatch.setattr(install, "LOCK_LIMIT", 0.3)
    monkeypatch.setattr(install, "install_packages", lambda: local)
    with (
        install.exclusive(local),
        pytest.raises(StackError, match="Another installation in .* has run for 0.3 s: wait for its end"),
    ):
        install.main(["--packages"])
    install.main(["--packages"])


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        ("KeyboardInterrupt", 130, "was interrupted: run the command again"),
        ("OSError(28, 'No space left on device', 'x')", 1, "No space left on device: 'x'. Check who owns"),
    ],
)
def test_what_ends_an_installation_early_is_one_sentence(error: str, code: int, said: str) -> None:
    script = ROOT / "local/install.py"
    fail = f"import shutil, runpy\ndef fail(_):\n    raise {error}\nshutil.which = fail\n"
    ended = subprocess.run(
        [sys.executable, "-c", f"{fail}runpy.run_path({str(script)!r}, run_name='__main__')"],
        cwd=script.parent, env={"PYTHONPATH": str(script.parent)}, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == code
    assert said in ended.stderr
    assert_one_sentence(ended.stderr)


def test_without_maven_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match="there is no mvn on the PATH: install it"):
        install.maven()


def test_python_packages_alone_need_neither_java_nor_maven(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(install, "install_packages", lambda: tmp_path)
    monkeypatch.setattr(install, "LOCAL", tmp_path)
    install.main(["--packages"])
    with pytest.raises(StackError, match="Java 17 or 21 is needed"):
        install.main([])


@pytest.mark.parametrize("verb", ["status", "verify", "down", "reset"])
def test_a_verb_that_needs_a_stack_installs_nothing(tmp_path: Path, verb: str) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    made = subprocess.run(["make", "-C", str(tmp_path), verb, "PYTHON=false"], capture_output=True, text=True)
    assert made.returncode != 0
    assert "Nothing is installed yet: `make up`" in made.stderr


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A .local/ folder with an installed environment."""
    folder = tmp_path / ".local"
    (folder / "venv-before").mkdir(parents=True)
    (folder / "venv").symlink_to("venv-before")
    for name, path in (("LOCAL", folder), ("JARS", folder / "jars"), ("VENV", folder / "venv-before")):
        monkeypatch.setattr(install, name, path)
    return folder


def test_packages_that_can_not_be_installed_leave_those_that_are_there(
    monkeypatch: pytest.MonkeyPatch, local: Path
) -> None:
    def fail(what: str, _: list[str]) -> None:
        raise StackError(f"{what} could not be installed")

    monkeypatch.setattr(install, "run", fail)
    with pytest.raises(StackError, match="could not be installed"):
        install.main(["--packages"])
    assert (local / "venv").resolve() == local / "venv-before"


def test_new_packages_leave_those_that_a_stack_may_run_from(monkeypatch: pytest.MonkeyPatch, local: Path) -> None:
    for name in ("venv-a", "venv-b"):
        (local / name).mkdir()
        monkeypatch.setattr(install, "VENV", (local / "venv").resolve())
        install.use(local / name)
        assert (local / "venv").resolve() == local / name
    assert sorted(path.name for path in local.iterdir()) == ["venv", "venv-a", "venv-b"]


def test_every_package_is_installed_by_its_hash_and_common_is_found(
    monkeypatch: pytest.MonkeyPatch, local: Path
) -> None:
    commands = []

    def run(_: str, command: list[str]) -> None:
        commands.append(command)
        (local / "venv-a/lib/python3.11/site-packages").mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(install, "run", run)
    monkeypatch.setattr(install, "ROOT", local.parent)
    install.install_python(local / "venv-a", [Path("a.txt"), Path("b.txt")])
    assert commands[-1][-5:] == ["--require-hashes", "-r", "a.txt", "-r", "b.txt"]
    site_packages = local / "venv-a/lib/python3.11/site-packages"
    found = (site_packages / "sensor-data.pth").read_text().strip()
    assert not Path(found).is_absolute()
    assert (site_packages / found).resolve() == local.parent / "common"


def test_every_services_packages_are_installed_and_the_developers_tools() -> None:
    installed = {str(path.relative_to(ROOT)) for path in install.requirements()}
    folders = {path.parent.name for path in ROOT.glob("*/Dockerfile")} | {"local"}
    assert installed == {f"{folder}/requirements.txt" for folder in folders} | {"requirements-dev.txt"}


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


def test_the_installer_needs_the_standard_library_only() -> None:
    """An older Python must reach the sentence that names the version which is needed."""
    todo, seen = ["install"], set()
    while todo:
        path = ROOT / "local" / f"{todo.pop().replace('.', '/')}.py"
        seen.add(path.stem)
        for node in ast.walk(ast.parse(path.read_text(), feature_version=(3, 8))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                if name.startswith("local_stack."):
                    todo.append(name)
                else:
                    assert name.split(".")[0] in sys.stdlib_module_names | {"__future__"}, f"{path.name}: {name}"
    assert seen == {"install", "env_file", "errors", "java", "paths"}
