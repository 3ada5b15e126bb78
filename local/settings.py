"""Where things are and what .env says. Standard library only: install.py runs before anything is installed."""

import os
import re
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent

# Everything that is made here is in this folder, which git ignores.
LOCAL = (ROOT / ".local").resolve()
VENV = (LOCAL / "venv").resolve()  # a link to the newest; what was started from another one stays with that
JARS = LOCAL / "jars"

# A running stack: its data, its logs, its process manager's socket. Tests use another one than the user's.
STACK = Path(os.environ.get("STACK_DIR") or LOCAL / "stack").resolve()
DATA = STACK / "data"
LOGS = STACK / "logs"


def env_file() -> dict[str, str]:
    """What .env sets, an environment variable of the same name overriding it; ends the program if it is not allowed."""
    values = {}
    for line in map(str.strip, (ROOT / ".env").read_text().splitlines()):
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r"""(\w+)=(["']?)([^\s"'#$]*)\2""", line)
        if not match:
            refuse(f".env has the line {line!r}: it must be NAME=value and nothing more.")
        name, value = match[1], os.environ.get(match[1], match[3])
        if name.endswith("_PORT") and not (re.fullmatch("[0-9]{1,5}", value) and 0 < int(value) < 65536):
            refuse(f"{name}, in .env or in the environment, is {value!r}: it must be a port, from 1 to 65535.")
        values[name] = value
    return values


def refuse(why: str) -> NoReturn:
    """End the program: what was asked for is not allowed."""
    print(why, file=sys.stderr)
    sys.exit(2)


def image_version(variable: str) -> str:
    """The version in the tag of an image in .env: the mode without Docker runs the same ones."""
    return env_file()[variable].rsplit(":", 1)[1]
