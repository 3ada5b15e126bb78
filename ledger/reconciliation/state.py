"""The state of the ledger: what an earlier run has verified. It holds nothing that the topics and Druid don't."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.files import write_whole

from reconciliation.ledger import StateMismatch

VERSION = 1  # of the format


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Write the state as a whole, below a line with its version and checksum. Creates the folder. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(state, separators=(",", ":"))
    write_whole(path, f"{json.dumps({'version': VERSION, 'sha256': _checksum(text)})}\n{text}\n")


def read(path: Path) -> dict[str, Any] | None:
    """What was written last, None when there is no file. Raises StateMismatch when it can't be used."""
    try:
        head, _, text = path.read_text(encoding="utf-8").partition("\n")
        text = text.removesuffix("\n")
        header = json.loads(head)
        if header["version"] != VERSION:
            raise StateMismatch(f"{path} has the format of another version")
        if header["sha256"] != _checksum(text):
            raise StateMismatch(f"{path} is damaged")
        return dict(json.loads(text))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateMismatch(f"{path} can't be read ({error.strerror})") from error
    except (ValueError, TypeError, LookupError) as error:
        raise StateMismatch(f"{path} is damaged") from error


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
