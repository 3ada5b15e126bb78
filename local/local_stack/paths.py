"""Where things are. Standard library only: install.py runs before anything is installed."""

import hashlib
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Everything that this mode makes is in this folder, which git ignores.
LOCAL = ROOT / ".local"
# .local/venv is a link to the newest environment; a stack that runs from an older one goes on with that.
VENV = LOCAL / (LOCAL / "venv").resolve().name
JARS = LOCAL / "jars"
SUPERSET = LOCAL / "superset"  # a virtual environment of its own

# A running stack: its data, its logs, its process manager. Tests use another folder than the user's.
STACK = Path(os.environ.get("STACK_DIR") or LOCAL / "stack").resolve()
DATA = STACK / "data"
LOGS = STACK / "logs"
SERVICES = STACK / "services"  # what start.py needs to know of each service
SETTINGS_FILE = STACK / "settings.json"
CONFIGURATION = STACK / "supervisord.conf"

# A system allows a socket about 103 bytes, and Supervisor adds its process id to the name for a moment.
LONGEST_SOCKET = 95


def socket_path(stack: Path) -> Path:
    """The process manager's socket: in the stack's folder unless the path would be too long for a socket."""
    inside = stack / "supervisor.sock"
    if len(os.fsencode(inside)) <= LONGEST_SOCKET:
        return inside
    return Path(f"/tmp/sensor-data-{os.getuid()}-{hashlib.sha256(os.fsencode(stack)).hexdigest()[:12]}.sock")


SOCKET = socket_path(STACK)
