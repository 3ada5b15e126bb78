"""What is installed without Docker, and what it asks of a machine."""

import ast
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import install
import pytest
from local_stack.errors import StackError
from repository import ROOT, assert_one_sentence


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
        install.exclusive(local / "install.lock", 1),
        pytest.raises(StackError, match=rf"Waited 0.3 s for another command \(process {os.getpid()}\) in .*: wait for"),
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


@pytest.mark.parametrize("script", ["install.py", "stack.py"])
def test_ctrl_c_while_python_imports_ends_without_a_traceback(tmp_path: Path, script: str) -> None:
    (tmp_path / "hashlib.py").write_text("raise KeyboardInterrupt")
    command = [sys.executable, str(ROOT / "local" / script), "status"]
    ended = subprocess.run(command, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGINT
    assert (ended.stdout, ended.stderr) == ("", "")


@pytest.mark.parametrize(("python", "installed"), [(sys.executable, True), ("/no/longer/there", False), (None, False)])
def test_the_check_names_all_that_is_missing_and_installs_nothing(
    monkeypatch: pytest.MonkeyPatch,
    local: Path,
    capsys: pytest.CaptureFixture[str],
    python: str | None,
    installed: bool,
) -> None:
    if python:
        (local / "venv/bin").mkdir()
        (local / "venv/bin/python").symlink_to(python)
    monkeypatch.setenv("PATH", str(local))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("DRUID_IMAGE", "druid")
    before = sorted(local.rglob("*"))
    assert install.check() == (1 if installed else 2)
    said = capsys.readouterr().out.splitlines()
    for part in ("can't make virtual environments", "Java 17 or 21 is needed", "there is no mvn on the PATH"):
        assert len([line for line in said if part in line]) == 1, said
    # With a virtual environment, stack.py checks the rest.
    assert any(line.startswith("DRUID_IMAGE") for line in said) is not installed
    assert any(line.startswith("Nothing is installed yet: `make up`") for line in said) is not installed
    assert "Checked: Python, Java, Maven." in said
    assert sorted(local.rglob("*")) == before


@pytest.mark.parametrize("found", ["INSTALL", "STACK"])
def test_make_doctor_fails_for_what_either_of_its_programs_finds(found: str) -> None:
    programs = {"INSTALL": "true", "STACK": "true", "INSTALLED": sys.executable}
    for values, fails in ((programs, False), (programs | {found: "false"}, True)):
        words = [f"{name}={value}" for name, value in values.items()]
        assert (
            bool(subprocess.run(["make", "-C", str(ROOT), "doctor", *words], capture_output=True).returncode) is fails
        )


def test_an_old_python_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(StackError, match="Python 3.11 or newer is needed, and .* is 3"):
        patch.setattr(sys, "version_info", (3, 8, 18))
        install.check_python()


def test_an_installation_names_all_that_is_missing(monkeypatch: pytest.MonkeyPatch, local: Path) -> None:
    monkeypatch.setenv("PATH", str(local))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(StackError) as error:
        install.main([])
    assert len(error.value.args) == 2


def test_make_doctor_runs_before_anything_is_installed(tmp_path: Path) -> None:
    for path in ("Makefile", ".env"):
        shutil.copy(ROOT / path, tmp_path)
    shutil.copytree(ROOT / "local", tmp_path / "local", ignore=shutil.ignore_patterns("__pycache__"))
    made = subprocess.run(["make", "-C", str(tmp_path), "doctor"], capture_output=True, text=True)
    assert "Checked: Python, Java, Maven.\nNothing is installed yet: `make up`" in made.stdout
    assert "Traceback" not in made.stderr
    assert not (tmp_path / ".local").exists()


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
    folders = {path.parent.name for path in ROOT.glob("*/Dockerfile")} - {"superset"} | {"local"}
    assert installed == {f"{folder}/requirements.txt" for folder in folders} | {"requirements-dev.txt"}


def test_what_make_requirements_leaves_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(install, "ROOT", tmp_path)
    for folder in (".local", "kafka", "benchmarks"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "requirements.txt").write_text("")
    assert install.requirements() == [tmp_path / "kafka/requirements.txt", tmp_path / "requirements-dev.txt"]


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
    assert seen == {"install", "env_file", "errors", "java", "lock", "paths"}
