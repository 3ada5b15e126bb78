"""What the generator's runs say that they have sent."""

import json
from collections.abc import Iterable

from reconciliation.result import Run


def newest(values: Iterable[bytes | None]) -> list[Run]:
    """The runs by their newest records in the runs topic, the oldest run first. Other records are ignored."""
    found: dict[str, Run] = {}
    for value in values:
        try:
            row = json.loads(value or b"")
            counts = (int(row[name]) for name in ("sent", "acknowledged", "failed"))
            found[str(row["run"])] = Run(str(row["started_at"]), str(row["state"]), *counts)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            continue
    return sorted(found.values())
