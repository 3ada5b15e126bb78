"""The Java that runs Kafka, Druid and Spark. Standard library only: install.py uses it."""

import os
import re
import shutil
import subprocess

from local_stack.errors import StackError

VERSIONS = ("17", "21")
REMEDY = (
    "install it (Debian, Ubuntu: apt-get install openjdk-17-jdk-headless; macOS: brew install openjdk@17)"
    " or let JAVA_HOME point to it."
)


def java() -> str:
    """The path of JAVA_HOME's java if that is set, else of the one on the PATH; "java" where there is none."""
    home = os.environ.get("JAVA_HOME")
    return f"{home}/bin/java" if home else shutil.which("java") or "java"


def check_java() -> None:
    """Raises StackError where java() is missing or of another version than 17 or 21."""
    path, home = java(), os.environ.get("JAVA_HOME")
    if not os.access(path, os.X_OK):
        where = f"JAVA_HOME is {home}, but there is no bin/java in it" if home else "there is no java on the PATH"
        raise StackError(f"Java 17 or 21 is needed, and {where}: {REMEDY}")
    output = subprocess.run([path, "-version"], capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', output)
    if not version or version[1] not in VERSIONS:
        found = f"version {version[1]}" if version else "of an unknown version"
        raise StackError(f"Java 17 or 21 is needed (by Druid and Spark), and {path} is {found}: {REMEDY}")
