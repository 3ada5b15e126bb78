"""The secrets of the dashboard, which only its own user can read."""

import secrets
from pathlib import Path

from service.files import write_whole

PASSWORD = "password"  # of the user
KEY = "secret-key"  # with which Superset signs its cookies


def keep(path: Path) -> tuple[str, bool]:
    """The secret in a file, and whether it is new: there was none. Raises OSError."""
    if path.exists() and (kept := path.read_text().strip()):  # empty after a power loss
        return kept, False
    secret = secrets.token_urlsafe(24)
    write_whole(path, secret + "\n", mode=0o600)
    return secret, True
