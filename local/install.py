"""Set up what the mode without Docker needs: a virtual environment with the Python packages and, by Maven, the jars.

What is missing on this machine is reported, with how to get it, before anything is downloaded. What is there already
stays. With --packages only the Python packages are installed: enough for unit tests, lint and the like.

Standard library only: this runs with whatever Python 3 there is.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from local_stack.env_file import image_version
from local_stack.errors import StackError
from local_stack.java import check_java
from local_stack.paths import JARS, LOCAL, ROOT, VENV

PIP = "26.3"
COPY_DEPENDENCIES = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def maven() -> str:
    path = shutil.which("mvn")
    if not path:
        raise StackError(
            "Maven fetches Kafka and Druid, and there is no mvn on the PATH: install it"
            " (Debian, Ubuntu: apt-get install maven; macOS: brew install maven)."
        )
    return path


def digest(*parts: str | Path) -> str:
    """Of texts and of the contents of files: what was installed from the same need not be installed again."""
    content = "\0".join(part.read_text() if isinstance(part, Path) else part for part in parts)
    return hashlib.sha256(content.encode()).hexdigest()


def once(what: str, stamp: Path, key: str, install: Callable[[], None]) -> None:
    """Call install() unless it was done before for the same key; print what happens and how long it took."""
    if stamp.exists() and stamp.read_text() == key:
        return
    stamp.unlink(missing_ok=True)
    print(f"{what} ...", flush=True)
    start = time.monotonic()
    install()
    stamp.write_text(key)
    print(f"{what}: done in {time.monotonic() - start:.0f} s", flush=True)


def run(what: str, command: list[str]) -> None:
    """Run a command quietly; if it fails, show its output and raise StackError."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode:
        print(result.stdout[-3000:], file=sys.stderr)
        raise StackError(
            f"{what} could not be installed, see above. Is the package registry reachable? Then run it again."
        )


def requirements() -> list[Path]:
    """The pinned packages of every service and of the developers' tools; `make bench` installs its own."""
    services = [path for path in sorted(ROOT.glob("*/requirements.txt")) if path.parent.name != "benchmarks"]
    return [*services, ROOT / "requirements-dev.txt"]


def install_python(venv: Path, files: list[Path]) -> None:
    """The packages in a new virtual environment, which also finds what the services share, in common/."""
    shutil.rmtree(venv, ignore_errors=True)
    run("The virtual environment", [sys.executable, "-m", "venv", str(venv)])
    pip = [str(venv / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run("pip", [*pip, f"pip=={PIP}"])
    run("The Python packages", [*pip, "--require-hashes", *(word for file in files for word in ("-r", str(file)))])
    site_packages = next(venv.glob("lib/python3*/site-packages"))
    (site_packages / "sensor-data.pth").write_text(os.path.relpath(ROOT / "common", site_packages) + "\n")


def use(venv: Path) -> None:
    """Let .local/venv lead to it; the one before stays, because a stack may run from it, and older ones go."""
    link, before = LOCAL / "venv", VENV
    new = LOCAL / "venv.new"
    new.unlink(missing_ok=True)
    new.symlink_to(venv.name)
    new.replace(link)
    for other in LOCAL.glob("venv-*"):
        if other not in (venv, before):
            shutil.rmtree(other)


def install_jars(what: str, pom: Path, target: Path, *properties: str) -> None:
    """The jars that `pom` names, and what they need, into `target`; in a folder of our own nothing else stays."""
    if target.is_relative_to(JARS):
        shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True, exist_ok=True)
    options = ["-q", "-B", "-f", str(pom), "-DincludeScope=runtime", f"-DoutputDirectory={target}", *properties]
    run(what, [maven(), COPY_DEPENDENCIES, *options])


def install_packages() -> Path:
    """Install the Python packages; returns their virtual environment."""
    files = requirements()
    key = digest(sys.version, PIP, *files)
    venv = LOCAL / f"venv-{key[:12]}"
    LOCAL.mkdir(exist_ok=True)
    once("Python packages", venv / "installed", key, lambda: install_python(venv, files))
    if venv != VENV:
        use(venv)
    return venv


def install_all_jars(venv: Path) -> None:
    """Kafka and Druid into .local/jars, Spark's Kafka connector among PySpark's own jars in `venv`."""
    JARS.mkdir(parents=True, exist_ok=True)
    kafka = f"-Dkafka.version={image_version('KAFKA_IMAGE', os.environ)}"
    druid = f"-Ddruid.version={image_version('DRUID_IMAGE', os.environ)}"
    pyspark = next(venv.glob("lib/python3*/site-packages/pyspark"))
    poms, extension = ROOT / "local/poms", "druid-kafka-indexing-service"
    for what, pom, target, version in (
        ("Kafka", poms / "kafka.xml", JARS / "kafka", kafka),
        ("Druid", poms / "druid.xml", JARS / "druid/lib", druid),
        ("Druid's Kafka extension", poms / "extension.xml", JARS / "druid/extensions" / extension, druid),
        ("Spark's Kafka connector", ROOT / "pyspark/connector.pom.xml", pyspark / "jars", ""),
    ):
        stamp = target.parent / f"{target.name}.installed"
        install = partial(install_jars, what, pom, target, *filter(None, [version]))
        once(what, stamp, digest(pom, version), install)


def main(arguments: list[str]) -> None:
    if sys.version_info < (3, 11):
        raise StackError(
            f"Python 3.11 or newer is needed, and {sys.executable} is {sys.version.split()[0]}:"
            " install a newer one and name it, as in `make run PYTHON=python3.12`."
        )
    packages_only = arguments == ["--packages"]
    if not packages_only:
        check_java()
        maven()
    venv = install_packages()
    if not packages_only:
        install_all_jars(venv)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except StackError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
