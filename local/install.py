"""Set up what the mode without Docker needs: a virtual environment with the Python parts and, by Maven, the jars.

Says what is missing on this machine and how to get it, before it downloads anything. What is there already stays.
Standard library only: this runs with whatever Python 3 there is.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from settings import JARS, LOCAL, ROOT, VENV, image_version

PYPROJECT = ROOT / "pyproject.toml"
PIP = "26.3"
ROOMS = ["kafka", "sensor-data-generator", "pyspark", "supervisor-specs", "ledger", "local"]
COPY_DEPENDENCIES = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def java() -> str:
    """The path of Java 17 or 21, of JAVA_HOME if that is set, else on the PATH; ends the program if there is none."""
    home = os.environ.get("JAVA_HOME")
    path = f"{home}/bin/java" if home else shutil.which("java")
    remedy = (
        "install it (Debian, Ubuntu: apt-get install openjdk-17-jdk-headless; macOS: brew install openjdk@17) or let"
        " JAVA_HOME point to it."
    )
    if not path or not os.access(path, os.X_OK):
        where = f"JAVA_HOME is {home}, but there is no bin/java in it" if home else "there is no java on the PATH"
        sys.exit(f"Java 17 or 21 is needed, and {where}: {remedy}")
    said = subprocess.run([path, "-version"], capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', said)
    if not version or version[1] not in ("17", "21"):
        found = f"version {version[1]}" if version else "of no version it would tell"
        sys.exit(f"Java 17 or 21 is needed (Druid and Spark run on these), and {path} is {found}: {remedy}")
    return path


def maven() -> str:
    path = shutil.which("mvn")
    if not path:
        sys.exit(
            "Maven fetches Kafka and Druid, and there is no mvn on the PATH: install it"
            " (Debian, Ubuntu: apt-get install maven; macOS: brew install maven)."
        )
    return path


def digest(*parts: str | Path) -> str:
    """Of texts and of the contents of files: what was installed from the same need not be installed again."""
    content = "\0".join(part.read_text() if isinstance(part, Path) else part for part in parts)
    return hashlib.sha256(content.encode()).hexdigest()


def once(what: str, stamp: Path, key: str, install: Callable[[], None]) -> None:
    """Call install() unless it was done before for the same key; say what happens and how long it took."""
    if stamp.exists() and stamp.read_text() == key:
        return
    stamp.unlink(missing_ok=True)
    print(f"{what} ...", flush=True)
    start = time.monotonic()
    install()
    stamp.write_text(key)
    print(f"{what}: done in {time.monotonic() - start:.0f} s", flush=True)


def run(what: str, command: list[str]) -> None:
    """Run quietly; if it fails, show what it said and end the program."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode:
        print(result.stdout[-3000:], file=sys.stderr)
        sys.exit(f"{what} could not be installed, see above. Is the package registry reachable? Then run it again.")


def install_python(venv: Path, requirements: list[Path]) -> None:
    """The services' packages and the developers' tools, in a new virtual environment."""
    shutil.rmtree(venv, ignore_errors=True)
    run("The virtual environment", [sys.executable, "-m", "venv", str(venv)])
    pip = [str(venv / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run("pip", [*pip, f"pip=={PIP}"])
    files = [word for path in requirements for word in ("-r", str(path))]
    run("The Python packages", [*pip, *files, "--group", f"{PYPROJECT}:dev"])


def use(venv: Path) -> None:
    """Let .local/venv lead to it; the one before stays, because a stack may run from it, and older ones go."""
    link, before = LOCAL / "venv", VENV
    if link.is_dir() and not link.is_symlink():  # as an earlier version of this script made it
        before = link.rename(LOCAL / "venv-before")
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


def main() -> None:
    if sys.version_info < (3, 11):
        sys.exit(
            f"Python 3.11 or newer is needed, and {sys.executable} is {sys.version.split()[0]}:"
            " install a newer one and name it, as in `make run PYTHON=python3.12`."
        )
    java()
    maven()
    JARS.mkdir(parents=True, exist_ok=True)

    requirements = [ROOT / room / "requirements.txt" for room in ROOMS]
    tools = PYPROJECT.read_text().partition("[dependency-groups]")[2].partition("\n[")[0]
    key = digest(sys.version, PIP, tools, *requirements)
    venv = LOCAL / f"venv-{key[:12]}"
    once("Python packages", venv / "installed", key, lambda: install_python(venv, requirements))
    if venv != VENV:
        use(venv)

    kafka = f"-Dkafka.version={image_version('KAFKA_IMAGE')}"
    druid = f"-Ddruid.version={image_version('DRUID_IMAGE')}"
    pyspark = next(venv.glob("lib/python3*/site-packages/pyspark"))
    poms = ROOT / "local/poms"
    for what, pom, target, version in (
        ("Kafka", poms / "kafka.xml", JARS / "kafka", kafka),
        ("Druid", poms / "druid.xml", JARS / "druid/lib", druid),
        (
            "Druid's Kafka extension",
            poms / "extension.xml",
            JARS / "druid/extensions/druid-kafka-indexing-service",
            druid,
        ),
        ("Spark's Kafka connector", ROOT / "pyspark/connector.pom.xml", pyspark / "jars", ""),
    ):
        stamp = target.parent / f"{target.name}.installed"
        install = partial(install_jars, what, pom, target, *filter(None, [version]))
        once(what, stamp, digest(pom, version), install)


if __name__ == "__main__":
    main()
