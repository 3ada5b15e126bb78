"""Where things are. Standard library only: install.py runs before anything is installed."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Everything that this mode makes is in this folder, which git ignores.
LOCAL = ROOT / ".local"
# .local/venv is a link to the newest environment; a stack that runs from an older one goes on with that.
VENV = LOCAL / (LOCAL / "venv").resolve().name
JARS = LOCAL / "jars"

# A running stack: its data, its logs, its process manager. Tests use another folder than the user's.
STACK = Path(os.environ.get("STACK_DIR") or LOCAL / "stack").resolve()
DATA = STACK / "data"
LOGS = STACK / "logs"
SETTINGS_FILE = STACK / "settings.json"
SOCKET = STACK / "supervisor.sock"
CONFIGURATION = STACK / "supervisord.conf"
