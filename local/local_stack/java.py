"""The Java that runs Kafka, Druid and Spark. Standard library only: install.py uses it."""

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

from local_stack.errors import StackError

VERSIONS = ("17", "21")
REMEDY = (
    "install it (Debian, Ubuntu: apt-get install openjdk-17-jdk-headless; macOS: brew install openjdk@17)"
    " or let JAVA_HOME point to it"
)


def java() -> str:
    """The path of JAVA_HOME's java if that is set, else of the one on the PATH; "java" where there is none."""
    home = os.environ.get("JAVA_HOME")
    found = f"{home}/bin/java" if home else shutil.which("java")
    return _itself(found) if found and os.access(found, os.X_OK) else found or "java"


@functools.lru_cache
def _itself(found: str) -> str:
    """The Java that `found` starts.

    `found` may be a script, as of jenv or asdf, which chooses a Java by the current folder: only Java itself knows.
    """
    path = Path(found).resolve()
    if (path.parent.parent / "lib/modules").is_file():
        return str(path)
    said = re.search(r"^\s*java\.home = (.+)$", _output(found, "-XshowSettings:properties", "-version"), re.MULTILINE)
    return f"{said[1]}/bin/java" if said else found


def _output(path: str, *arguments: str) -> str:
    return subprocess.run([path, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


def check_java() -> None:
    """Raises StackError where java() is missing or of another version than 17 or 21."""
    path, home = java(), os.environ.get("JAVA_HOME")
    if not os.access(path, os.X_OK):
        where = f"JAVA_HOME is {home}, but there is no bin/java in it" if home else "there is no java on the PATH"
        raise StackError(f"Java 17 or 21 is needed, and {where}: {REMEDY}.")
    output = _output(path, "-version")
    version = re.search(r'version "(\d+)', output)
    if not version or version[1] not in VERSIONS:
        found = f"version {version[1]}" if version else f"of an unknown version ({output.strip()[-200:]})"
        raise StackError(f"Java 17 or 21 is needed (by Druid and Spark), and {path} is {found}: {REMEDY}.")
