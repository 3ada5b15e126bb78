"""JSON records and the times in them, as fast as plain Python reads them."""

import json
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]|[^"\[\]{}]+')
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def loads(value: bytes | None) -> Any:
    """The JSON of a record. Raises ValueError or TypeError when there is none."""
    try:
        return json.loads(value)  # type: ignore[arg-type]
    except RecursionError:
        return json.loads(_flat(value))  # type: ignore[arg-type]


def _flat(value: bytes) -> str:
    """A JSON object without what is nested in its fields, which may be nested too deeply for json.loads."""
    parts, depth = [], 0
    for token in _TOKENS.findall(value.decode(json.detect_encoding(value))):
        depth -= token in ("]", "}")
        if depth == 0 or (depth == 1 and token not in ("{", "[", "]", "}")):
            parts.append(token)
        elif depth == 1 and token in ("{", "["):
            parts.append("null")
        depth += token in ("{", "[")
    return "".join(parts)


def millis(time: str) -> int:
    """Milliseconds since the epoch of an ISO 8601 time. Raises ValueError, or TypeError when it has no zone."""
    return (datetime.fromisoformat(time) - _EPOCH) // timedelta(milliseconds=1)


@lru_cache(maxsize=10_000)
def second(time: str) -> int:
    """Milliseconds since the epoch of "YYYY-MM-DDTHH:MM:SS" in UTC. Windows start at full seconds, so that suffices."""
    return millis(time.removesuffix("Z") + "Z")
