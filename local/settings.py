"""Where things are and what .env says. Standard library only: install.py runs before anything is installed."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Everything that is made here is in this folder, which git ignores.
LOCAL = ROOT / ".local"
VENV = LOCAL / "venv"
JARS = LOCAL / "jars"

# A running stack: its data, its logs, its process manager's socket. Tests use another one than the user's.
STACK = Path(os.environ.get("STACK_DIR", LOCAL / "stack")).resolve()
DATA = STACK / "data"
LOGS = STACK / "logs"


def env_file() -> dict[str, str]:
    """What .env sets, an environment variable of the same name overriding it."""
    lines = (line.strip() for line in (ROOT / ".env").read_text().splitlines())
    values = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {name: os.environ.get(name, value) for name, value in values.items()}


def image_version(variable: str) -> str:
    """The version in the tag of an image in .env: the mode without Docker runs the same ones."""
    return env_file()[variable].rsplit(":", 1)[1]
