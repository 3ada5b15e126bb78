"""Set up what the mode without Docker needs: a virtual environment with the Python packages and, by Maven, the jars.

What is missing on this machine is reported, with how to get it, before anything is downloaded. What is there already
stays.

    install.py [--packages | --check]    --packages: the Python packages only, enough for unit tests, lint and the like
                                         --check: install nothing, only report what is missing (`make doctor`)

Standard library only: this runs with whatever Python 3 there is.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":  # Ctrl-C while Python imports ends without a traceback
    sys.excepthook = lambda *error: None if error[0] is KeyboardInterrupt else sys.__excepthook__(*error)

import hashlib
import importlib.util
import logging
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from local_stack.env_file import image_version
from local_stack.errors import StackError, findings, not_accessible, refuse
from local_stack.java import check_java
from local_stack.lock import exclusive
from local_stack.paths import JARS, LOCAL, ROOT, VENV

PIP = "26.3"
LOCK_LIMIT = 1800  # seconds to wait for another installation
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
    # Maven's Java reads the names of files and folders as the locale says.
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    result = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    if result.returncode:
        print(result.stdout[-3000:], file=sys.stderr)
        raise StackError(
            f"{what} could not be installed, see above. Is the package registry reachable? Then run it again."
        )


def requirements() -> list[Path]:
    """The pinned packages of every service and of the developers' tools; `make bench` and `make dashboard` have own."""
    # Not .local/, where `make requirements` leaves all packages in one file.
    files = sorted(ROOT.glob("[a-z]*/requirements.txt"))
    services = [path for path in files if path.parent.name not in ("benchmarks", "superset")]
    return [*services, ROOT / "requirements-dev.txt"]


def install_python(venv: Path, files: list[Path], python: str = sys.executable) -> None:
    """The packages in a new virtual environment, which also finds what the services share, in common/."""
    shutil.rmtree(venv, ignore_errors=True)
    run("The virtual environment", [python, "-m", "venv", str(venv)])
    # -E: with another project's PYTHONPATH, pip would take its packages for installed.
    pip = [str(venv / "bin/python"), "-E", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run("pip", [*pip, f"pip=={PIP}"])
    run("The Python packages", [*pip, "--require-hashes", *(word for file in files for word in ("-r", str(file)))])
    site_packages = next(venv.glob("lib/python3*/site-packages"))
    (site_packages / "sensor-data.pth").write_text(os.path.relpath(ROOT / "common", site_packages) + "\n")


def install_superset(venv: Path, python: Callable[[], str]) -> None:
    """Superset and what it needs, in an environment of its own: its packages don't fit together with the services'.

    `python` finds the Python for it, and is called where something must be installed.
    """
    files, stamp = [ROOT / "superset/requirements.txt"], venv / "installed"
    with exclusive(LOCAL / "install.lock", LOCK_LIMIT):
        if (venv / "bin/python").exists() and stamp.exists() and stamp.read_text() == digest(PIP, *files):
            return
        stamp.unlink(missing_ok=True)
        install = partial(install_python, venv, files, python())
        once("Superset (800 MB)", stamp, digest(PIP, *files), install)


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


def check_folder() -> None:
    """Raises StackError where the repository's path has something that Python or Java can't have in one."""
    if re.search("[:\r\n\udc80-\udcff]", str(ROOT)):  # the last ones stand for bytes that are not UTF-8
        raise StackError(
            f"The repository is in {str(ROOT)!r}, and this mode can't run in a folder with a colon, a line break or"
            " bytes that are not UTF-8 in its path: rename or move the folder."
        )


def check_venv() -> None:
    """Raises StackError where Python can't make a virtual environment."""
    if not importlib.util.find_spec("ensurepip"):
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise StackError(
            f"{sys.executable} can't make virtual environments: install its module for that (Debian, Ubuntu:"
            f" apt-get install python{version}-venv) or name another Python, as in `make up PYTHON=python{version}`."
        )


def check_python() -> None:
    """Raises StackError where this Python is too old."""
    if sys.version_info < (3, 11):
        raise StackError(
            f"Python 3.11 or newer is needed, and {sys.executable} is {sys.version.split()[0]}:"
            " install a newer one and name it, as in `make run PYTHON=python3.12`."
        )


def install_packages() -> Path:
    """Install the Python packages; returns their virtual environment."""
    files = requirements()
    key = digest(sys.version, PIP, *files)
    venv = LOCAL / f"venv-{key[:12]}"
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


PACKAGE_CHECKS = (check_python, check_folder, check_venv)
JAR_CHECKS = (check_java, maven)
IMAGE_CHECKS = tuple(partial(image_version, name, os.environ) for name in ("KAFKA_IMAGE", "DRUID_IMAGE"))


def check() -> int:
    """Print what is missing on this machine; returns the exit code."""
    # As the Makefile: `make doctor` then runs stack.py as well, which knows .env. The Python behind it may be gone.
    installed = (VENV / "bin/python").exists()
    found = findings((*PACKAGE_CHECKS, *JAR_CHECKS, *(() if installed else IMAGE_CHECKS)))
    print("\n".join([*found, f"{'' if found else 'Nothing was found. '}Checked: Python, Java, Maven."]))
    if not installed:
        print("Nothing is installed yet: `make up` installs what is needed, and `make doctor` then checks more.")
    sys.stdout.flush()
    return max(found.values(), default=0)


def main(arguments: list[str]) -> None:
    packages_only = arguments == ["--packages"]
    refuse(findings(PACKAGE_CHECKS if packages_only else (*PACKAGE_CHECKS, *JAR_CHECKS, *IMAGE_CHECKS)))
    with exclusive(LOCAL / "install.lock", LOCK_LIMIT):
        venv = install_packages()
        if not packages_only:
            install_all_jars(venv)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if sys.argv[1:] == ["--check"]:
            sys.exit(check())
        main(sys.argv[1:])
    except StackError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        print(not_accessible(error), file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nThe installation was interrupted: run the command again, it goes on from there.", file=sys.stderr)
        sys.exit(130)
