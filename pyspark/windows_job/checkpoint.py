"""Spark's checkpoint: which query it belongs to, what each batch read, and which batch was committed last.

The files are those of Spark's OffsetSeqLog and CommitLog: offsets/N is written before batch N runs, commits/N after it.
Each is a line with a version, one of JSON and, for the offsets, one more per source.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

SETTINGS = "settings.json"

T = TypeVar("T")


class DamagedCheckpoint(Exception):
    """A file of the checkpoint is empty or torn; the text names it."""


def _parsed(path: Path, parse: Callable[[str], T]) -> T:
    """What `parse` makes of a file. Raises FileNotFoundError, and DamagedCheckpoint where it makes nothing of it."""
    try:
        return parse(path.read_text())
    except (ValueError, LookupError, TypeError) as error:
        raise DamagedCheckpoint(f"{path} is empty or damaged, as after a power loss or on a full disk") from error


def query_id(checkpoint: Path) -> str | None:
    """The id that Spark gave the query of this checkpoint; None in a new one."""
    try:
        return _parsed(checkpoint / "metadata", lambda text: str(json.loads(text)["id"]))
    except FileNotFoundError:
        return None


def batch(checkpoint: Path, batch_id: int) -> tuple[int, dict[str, dict[str, int]]]:
    """The watermark of a batch (milliseconds since the epoch) and its end offsets: topic -> partition -> offset.

    The batch emits the windows that end at its watermark or before. A reading of it is late when its window ends at
    this watermark or before.
    """

    def parse(text: str) -> tuple[int, dict[str, dict[str, int]]]:
        _, metadata, offsets = text.splitlines()
        return int(json.loads(metadata)["batchWatermarkMs"]), json.loads(offsets)

    return _parsed(checkpoint / "offsets" / str(batch_id), parse)


def last_committed(checkpoint: Path) -> tuple[int, int]:
    """The newest batch that Spark has committed, and the watermark (milliseconds) of the next one; -1 and 0 if none."""
    newest = _newest(checkpoint / "commits")
    if newest is None:
        return -1, 0

    def parse(text: str) -> int:
        return int(json.loads(text.splitlines()[1])["nextBatchWatermarkMs"])

    return newest, _parsed(checkpoint / "commits" / str(newest), parse)


def check_newest_batch(checkpoint: Path) -> None:
    """Raise DamagedCheckpoint when the files of the newest batch, with which Spark starts, can't be read."""
    last_committed(checkpoint)
    newest = _newest(checkpoint / "offsets")
    if newest is not None:
        batch(checkpoint, newest)


def _newest(log: Path) -> int | None:
    """The highest number of a batch that has a file in this folder."""
    return max((int(path.name) for path in log.glob("[0-9]*") if path.name.isdigit()), default=None)


def changed_setting(checkpoint: Path, settings: dict[str, Any]) -> tuple[str, Any] | None:
    """The first of `settings` that differs from the one of the open windows in the checkpoint, and that one's value.

    Writes down the settings of a new checkpoint; to be called before its query starts.
    """
    path = checkpoint / SETTINGS
    if query_id(checkpoint) is None or not path.exists():
        write_settings(checkpoint, settings)
    known = _parsed(path, lambda text: dict(json.loads(text)))
    return next(((name, known.get(name)) for name, value in settings.items() if known.get(name) != value), None)


def write_settings(checkpoint: Path, settings: dict[str, Any]) -> None:
    """Write down the settings of the windows that are computed from now on."""
    path = checkpoint / SETTINGS
    new = path.with_suffix(".new")
    new.write_text(json.dumps(settings))
    new.replace(path)  # at once: a reader sees the old file or the new one


def forget_state_schema(checkpoint: Path) -> None:
    """Let windows have other columns from now on; only while no window is open, so that no state has the old ones.

    Spark holds the columns of the state to these files, and writes them again when they are missing.
    """
    for schema in checkpoint.glob("state/*/*/_metadata/schema*"):
        schema.unlink() if schema.is_file() else shutil.rmtree(schema)
