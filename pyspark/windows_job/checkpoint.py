"""Spark's checkpoint: which query it belongs to, what each batch read, and which batch was committed last.

The files are those of Spark's OffsetSeqLog and CommitLog: offsets/N is written before batch N runs, commits/N after it.
Each is a line with a version, one of JSON and, for the offsets, one more per source.
"""

import json
from pathlib import Path
from typing import Any

SETTINGS = "settings.json"


def query_id(checkpoint: Path) -> str | None:
    """The id that Spark gave the query of this checkpoint; None in a new one."""
    try:
        return str(json.loads((checkpoint / "metadata").read_text())["id"])
    except FileNotFoundError:
        return None


def batch(checkpoint: Path, batch_id: int) -> tuple[int, dict[str, dict[str, int]]]:
    """The watermark of a batch (milliseconds since the epoch) and its end offsets: topic -> partition -> offset.

    The batch emits the windows that end at its watermark or before. A reading of it is late when its window ends at the
    watermark of the batch before, or earlier.
    """
    _, metadata, offsets = (checkpoint / "offsets" / str(batch_id)).read_text().splitlines()
    return int(json.loads(metadata)["batchWatermarkMs"]), json.loads(offsets)


def last_committed(checkpoint: Path) -> tuple[int, int]:
    """The newest batch that Spark has committed, and the watermark (milliseconds) of the next one; -1 and 0 if none."""
    committed = [int(path.name) for path in (checkpoint / "commits").glob("[0-9]*") if path.name.isdigit()]
    if not committed:
        return -1, 0
    _, metadata = (checkpoint / "commits" / str(max(committed))).read_text().splitlines()[:2]
    return max(committed), int(json.loads(metadata)["nextBatchWatermarkMs"])


def changed_setting(checkpoint: Path, settings: dict[str, Any]) -> tuple[str, Any] | None:
    """The first of `settings` that differs from the one of the open windows in the checkpoint, and that one's value.

    Writes down the settings of a new checkpoint; to be called before its query starts.
    """
    path = checkpoint / SETTINGS
    if query_id(checkpoint) is None or not path.exists():
        path.write_text(json.dumps(settings))
    known = json.loads(path.read_text())
    return next(((name, known.get(name)) for name, value in settings.items() if known.get(name) != value), None)
