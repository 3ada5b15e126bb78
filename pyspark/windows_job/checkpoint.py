"""Spark's checkpoint: which query it belongs to, what each batch read, and which batch was committed last.

The files are those of Spark's OffsetSeqLog and CommitLog: offsets/N is written before batch N runs, commits/N after it.
Each is a line with a version, one of JSON and, for the offsets, one more per source.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, TypeVar

SETTINGS = "settings.json"

T = TypeVar("T")


class DamagedCheckpoint(Exception):
    """A file of the checkpoint is empty or torn; the text names it."""


class Folder(Protocol):
    """The folder of a checkpoint, on whatever file system. The names of files have slashes, as in "offsets/12".

    Methods raise OSError, read() also ValueError for a file that is not as it was written.
    """

    url: str

    def read(self, name: str) -> str: ...

    def write(self, name: str, text: str) -> None:
        """Write a file, so that a reader sees the old text or the new one."""

    def names(self, name: str) -> list[str]:
        """The names of what is in a folder; none where there is no such folder."""

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all that is in it."""


def _parsed(folder: Folder, name: str, parse: Callable[[str], T]) -> T:
    """What `parse` makes of a file. Raises FileNotFoundError, and DamagedCheckpoint where it makes nothing of it."""
    try:
        return parse(folder.read(name))
    except (ValueError, LookupError, TypeError) as error:
        path = f"{folder.url}/{name}"
        raise DamagedCheckpoint(f"{path} is empty or damaged, as after a power loss or on a full disk") from error


def query_id(checkpoint: Folder) -> str | None:
    """The id that Spark gave the query of this checkpoint; None in a new one."""
    try:
        return _parsed(checkpoint, "metadata", lambda text: str(json.loads(text)["id"]))
    except FileNotFoundError:
        return None


def batch(checkpoint: Folder, batch_id: int) -> tuple[int, dict[str, dict[str, int]]]:
    """The watermark of a batch (milliseconds since the epoch) and its end offsets: topic -> partition -> offset.

    The batch emits the windows that end at its watermark or before. A reading of it is late when its window ends at
    this watermark or before.
    """

    def parse(text: str) -> tuple[int, dict[str, dict[str, int]]]:
        _, metadata, offsets = text.splitlines()
        return int(json.loads(metadata)["batchWatermarkMs"]), json.loads(offsets)

    return _parsed(checkpoint, f"offsets/{batch_id}", parse)


def last_committed(checkpoint: Folder) -> tuple[int, int]:
    """The newest batch that Spark has committed, and the watermark (milliseconds) of the next one; -1 and 0 if none."""
    newest = _newest(checkpoint, "commits")
    return (-1, 0) if newest is None else (newest, _next_watermark(checkpoint, newest))


def next_watermark(checkpoint: Folder, batch_id: int) -> int:
    """The watermark (milliseconds) of the batch after this one, which is committed, or after the one before it; or 0.

    Unlike last_committed() it lists no folder.
    """
    for each in (batch_id, batch_id - 1):
        with suppress(FileNotFoundError):
            return _next_watermark(checkpoint, each)
    return 0


def _next_watermark(checkpoint: Folder, batch_id: int) -> int:
    def parse(text: str) -> int:
        return int(json.loads(text.splitlines()[1])["nextBatchWatermarkMs"])

    return _parsed(checkpoint, f"commits/{batch_id}", parse)


def check_newest_batch(checkpoint: Folder) -> None:
    """Raise DamagedCheckpoint when the files of the newest batch, with which Spark starts, can't be read."""
    last_committed(checkpoint)
    newest = _newest(checkpoint, "offsets")
    if newest is not None:
        batch(checkpoint, newest)


def shuffle_partitions(checkpoint: Folder) -> int | None:
    """The number that Spark keeps for all batches of this checkpoint; None in a new one."""
    newest = _newest(checkpoint, "offsets")
    if newest is None:
        return None

    def parse(text: str) -> int:
        return int(json.loads(text.splitlines()[1])["conf"]["spark.sql.shuffle.partitions"])

    return _parsed(checkpoint, f"offsets/{newest}", parse)


def _newest(checkpoint: Folder, log: str) -> int | None:
    """The highest number of a batch that has a file in this folder."""
    return max((int(name) for name in checkpoint.names(log) if name.isdigit()), default=None)


def changed_setting(checkpoint: Folder, settings: dict[str, Any]) -> tuple[str, Any] | None:
    """The first of `settings` that differs from the one of the open windows in the checkpoint, and that one's value.

    Writes down the settings of a new checkpoint; to be called before its query starts.
    """
    if query_id(checkpoint) is None or SETTINGS not in checkpoint.names(""):
        write_settings(checkpoint, settings)
    known = _parsed(checkpoint, SETTINGS, lambda text: dict(json.loads(text)))
    return next(((name, known.get(name)) for name, value in settings.items() if known.get(name) != value), None)


def write_settings(checkpoint: Folder, settings: dict[str, Any]) -> None:
    """Write down the settings of the windows that are computed from now on. Raises OSError."""
    checkpoint.write(SETTINGS, json.dumps(settings))


def forget_state_schema(checkpoint: Folder) -> None:
    """Let windows have other columns from now on; only while no window is open, so that no state has the old ones.

    Spark holds the columns of the state to these files, and writes them again when they are missing.
    """
    for operator in checkpoint.names("state"):
        for partition in checkpoint.names(f"state/{operator}"):
            metadata = f"state/{operator}/{partition}/_metadata"
            for name in checkpoint.names(metadata):
                if name.startswith("schema"):
                    checkpoint.remove(f"{metadata}/{name}")
