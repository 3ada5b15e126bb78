"""JSON records and the values in them, as fast as plain Python reads them."""

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]|[^"\[\]{}]+')
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

LONGEST_ENTITY = 256  # characters
LARGEST_FRACTION = 2**53  # from here on a float is not exact

# What reading a field of any JSON may raise
UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)


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


@lru_cache(maxsize=300_000, typed=True)
def vehicle(entity: Any) -> str:
    """The vehicle of a reading as text: 7, 7.0 and "7" are one. Raises ValueError, or TypeError, for anything else."""
    if type(entity) is str and 0 < len(entity) <= LONGEST_ENTITY:
        return entity
    if type(entity) is float and abs(entity) <= LARGEST_FRACTION and entity.is_integer():
        return str(int(entity))
    if type(entity) is int and -(2**63) <= entity < 2**63:
        return str(entity)
    raise ValueError(f"{entity!r} is not a vehicle")


def millis(time: str) -> int:
    """Milliseconds since the epoch of an ISO 8601 time. Raises ValueError, or TypeError when it has no zone."""
    return (datetime.fromisoformat(time) - _EPOCH) // timedelta(milliseconds=1)


@lru_cache(maxsize=10_000)
def second(time: str) -> int:
    """Milliseconds since the epoch of "YYYY-MM-DDTHH:MM:SS" in UTC. Windows start at full seconds, so that suffices."""
    return millis(time.removesuffix("Z") + "Z")


def event_time(reading: Any) -> int:
    """The time of a reading in milliseconds since the epoch, exact to the second.

    Raises ValueError, TypeError, KeyError, IndexError, AttributeError or OverflowError when it has none.
    """
    time = reading["time"]
    return second(time[:19]) if time[-1] == "Z" else millis(time)


def times(values: Iterable[bytes | None], boundary: int) -> tuple[int, int]:
    """How many of these records of the raw topic have a time before `boundary`, and how many a later one."""
    old = recent = 0
    for value in values:
        try:
            time = event_time(loads(value))
        except UNREADABLE:
            continue
        old += time < boundary
        recent += time >= boundary
    return old, recent
