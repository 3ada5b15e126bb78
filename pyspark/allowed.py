"""What the constants of pyspark.py may be, and the environment variables that override them."""

import re
from collections.abc import Sequence

MILLIS = {"millisecond": 1, "second": 1000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
UNITS = tuple(MILLIS)


class BadSetting(Exception):
    """A constant, or the environment variable that overrides it, is not allowed."""


def duration_seconds(name: str, duration: str) -> int:
    """The seconds of a duration such as "1 minute" or "90 seconds"; raises BadSetting naming `name`."""
    return duration_millis(name, duration, UNITS[1:]) // 1000


def duration_millis(name: str, duration: str, units: Sequence[str] = UNITS) -> int:
    """The milliseconds of a duration in one of `units`, such as "500 milliseconds"; raises BadSetting naming `name`."""
    match = re.fullmatch(rf"\s*(\d+)\s+({'|'.join(units)})s?\s*", duration)
    millis = int(match[1]) * MILLIS[match[2]] if match else 0
    if not 0 < millis <= 366 * MILLIS["day"]:
        raise BadSetting(
            f"{name.upper()} (or {name}) is {duration!r}: it must be a whole number above 0 and a unit"
            f' ({", ".join(units[:-1])} or {units[-1]}), as in "90 seconds" or "1 minute".'
        )
    return millis


def whole_number(name: str, value: str | int) -> int:
    """`value` as a whole number above 0; raises BadSetting naming `name`."""
    if not re.fullmatch(r"0*[1-9]\d{0,9}", str(value)):
        raise BadSetting(f"{name.upper()} (or {name}) is {value!r}: it must be a whole number, 1 or more.")
    return int(value)
