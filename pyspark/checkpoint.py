"""What Spark's checkpoint says: which query it belongs to, what each batch read, and how far it is done.

The files are those of Spark's OffsetSeqLog and CommitLog: offsets/N is written before batch N runs, commits/N after it.
Each is a line with a version, one of JSON and, for the offsets, one more per source.
"""

import json
from pathlib import Path
from typing import Any

SETTINGS = "settings.json"


def query_id(checkpoint: Path) -> str | None:
    """The id that Spark gave the query whose checkpoint this is; None where there is none yet."""
    try:
        return str(json.loads((checkpoint / "metadata").read_text())["id"])
    except FileNotFoundError:
        return None


def batch(checkpoint: Path, batch_id: int) -> tuple[int, dict[str, dict[str, int]]]:
    """The watermark of a batch (milliseconds since the epoch) and the offsets it ends at: topic -> partition -> offset.

    The batch emits the windows that end at its watermark or before. A reading of it is late when its window ends at the
    watermark of the batch before it, or earlier still.
    """
    _, metadata, offsets = (checkpoint / "offsets" / str(batch_id)).read_text().splitlines()
    return int(json.loads(metadata)["batchWatermarkMs"]), json.loads(offsets)


def last_done(checkpoint: Path) -> tuple[int, int]:
    """The newest batch that is done for Spark, and the watermark (milliseconds) of the next one; -1 and 0 if none."""
    done = [int(path.name) for path in (checkpoint / "commits").glob("[0-9]*") if path.name.isdigit()]
    if not done:
        return -1, 0
    _, metadata = (checkpoint / "commits" / str(max(done))).read_text().splitlines()[:2]
    return max(done), int(json.loads(metadata)["nextBatchWatermarkMs"])


def changed_setting(checkpoint: Path, settings: dict[str, Any]) -> tuple[str, Any] | None:
    """The first of `settings` that is not what the open windows in the checkpoint were begun with, and what that was.

    Settings of a new checkpoint are written down; to be called before its query starts.
    """
    path = checkpoint / SETTINGS
    if query_id(checkpoint) is None or not path.exists():
        path.write_text(json.dumps(settings))
    begun = json.loads(path.read_text())
    return next(((name, begun.get(name)) for name, value in settings.items() if begun.get(name) != value), None)
