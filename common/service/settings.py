"""Settings of a service: constants at the top of its script, each overridden by the environment variable of its name.

A service declares a frozen dataclass whose fields are made by the functions below, creates one with from_constants()
and passes it through checked() once, at its start.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

MILLISECONDS = {"millisecond": 1, "second": 1000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
LONGEST_DURATION = 366 * MILLISECONDS["day"]

T = TypeVar("T")


class BadSetting(Exception):
    """A constant, or the environment variable that overrides it, has a value that is not allowed."""


class BadFile(ValueError):
    """The file that a setting names can't be used; the text says why."""


class _NotAllowed(ValueError):
    """The text completes the sentence "it must be ..."; `shown` is the value without what is secret in it."""

    def __init__(self, allowed: str, shown: str | None = None) -> None:
        super().__init__(allowed)
        self.shown = shown


def from_constants(settings: type[T], script: Mapping[str, Any]) -> T:
    """The settings with the values of a script's constants, by their names; `script` is its globals()."""
    return settings(**{field.name: script[field.name] for field in dataclasses.fields(settings)})  # type: ignore[arg-type]


def checked(constants: T, environment: Mapping[str, str]) -> T:
    """The settings `constants`, a dataclass instance, with what `environment` overrides; all values checked.

    NUM_ENTITIES overrides the field num_entities. Raises BadSetting naming the first value that is not allowed.
    """
    values = {}
    for field in dataclasses.fields(constants):  # type: ignore[arg-type]
        value = environment.get(field.name.upper(), getattr(constants, field.name))
        try:
            values[field.name] = field.metadata["parse"](value)
        except _NotAllowed as error:
            shown = value if error.shown is None else error.shown
            raise BadSetting(f"{field.name.upper()} (or {field.name}) is {shown!r}: it must be {error}.") from None
        except BadFile as error:
            raise BadSetting(f"{field.name.upper()} (or {field.name}) can't be used, {value!r}: {error}.") from None
    return dataclasses.replace(constants, **values)  # type: ignore[type-var]


def text() -> Any:
    """A field of any text but an empty one."""

    def parse(value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise _NotAllowed("a text that is not empty")
        return value

    return _field(parse)


def servers() -> Any:
    """A field of Kafka's addresses, as in "localhost:9092,[::1]:9093"."""

    def parse(value: Any) -> str:
        server = r"(\[[0-9A-Fa-f:.%]+\]|[^\s,:\[\]]+):(\d{1,5})"
        if not re.fullmatch(rf"{server}(,\s*{server})*", str(value).strip()):
            raise _NotAllowed('one or more addresses, as in "localhost:9092", separated by commas')
        return str(value).strip()

    return _field(parse)


def url() -> Any:
    """A field of the URL of a server, as in "http://router:8888"; the parsed one has no slash at the end."""

    def parse(value: Any) -> str:
        text = str(value).strip()
        try:
            parts = urlsplit(text)
            ok = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
        except ValueError:
            ok, parts = None, None
        if not ok or not parts or "@" in parts.netloc or parts.query or parts.fragment or re.search(r"\s", text):
            allowed = 'the URL of a server, as in "http://router:8888", without a user or a password in it'
            raise _NotAllowed(allowed, re.sub("//.*@", "//...@", text, flags=re.DOTALL))
        return text.rstrip("/")

    return _field(parse)


def optional_text() -> Any:
    """A field of any text; an empty one stands for none."""
    return _field(str)


def whole_number(minimum: int) -> Any:
    """A field of an int, `minimum` or more."""

    def parse(value: Any) -> int:
        try:
            number = int(value)
            if not minimum <= number or number != float(value):
                raise ValueError
        except (ValueError, TypeError, OverflowError):
            raise _NotAllowed(f"a whole number, {minimum} or more") from None
        return number

    return _field(parse)


def seconds() -> Any:
    """A field of a number of seconds, 0 or more, as a float."""

    def parse(value: Any) -> float:
        number = _number(value)
        if not 0 <= number < math.inf:
            raise _NotAllowed("a number of seconds, 0 or more")
        return number

    return _field(parse)


def share() -> Any:
    """A field of a float from 0 to 1."""

    def parse(value: Any) -> float:
        number = _number(value)
        if not 0 <= number <= 1:
            raise _NotAllowed("a share, 0 to 1")
        return number

    return _field(parse)


def speed() -> Any:
    """A field of how many times as fast as real time: 0 for as fast as possible, or 1 or more, as a float."""

    def parse(value: Any) -> float:
        number = _number(value)
        if number != 0 and not 1 <= number < math.inf:
            raise _NotAllowed("0 (as fast as possible), or a number of 1 (as recorded) or more")
        return number

    return _field(parse)


def one_of(*texts: str) -> Any:
    """A field of one of these texts."""

    def parse(value: Any) -> str:
        if value not in texts:
            raise _NotAllowed(f"{', '.join(map(repr, texts[:-1]))} or {texts[-1]!r}")
        return str(value)

    return _field(parse)


def boolean() -> Any:
    """A field of a bool: true or false, in any case."""

    def parse(value: Any) -> bool:
        if str(value).strip().lower() not in ("true", "false"):
            raise _NotAllowed("true or false")
        return str(value).strip().lower() == "true"

    return _field(parse)


def replicas() -> Any:
    """A field of a number of copies, 1 or more; -1 leaves it to the broker."""

    def parse(value: Any) -> int:
        if not re.fullmatch(r"\s*(-1|0*[1-9]\d*)\s*", str(value)):
            raise _NotAllowed("a whole number, 1 or more, or -1 for the broker's default")
        return int(value)

    return _field(parse)


def parsed(parse: Callable[[Any], Any]) -> Any:
    """A field of what `parse` makes of the value; it raises BadFile."""
    return _field(parse)


def duration(smallest_unit: str = "second", *, optional: bool = False) -> Any:
    """A field of a duration in words, such as "90 seconds", in `smallest_unit` or a larger one; see milliseconds().

    With `optional`, an empty text stands for none.
    """
    units = list(MILLISECONDS)[list(MILLISECONDS).index(smallest_unit) :]

    def parse(value: Any) -> str:
        if optional and not str(value).strip():
            return ""
        match = re.fullmatch(rf"\s*(\d+)\s+({'|'.join(units)})s?\s*", str(value))
        if not match or not 0 < int(match[1]) * MILLISECONDS[match[2]] <= LONGEST_DURATION:
            raise _NotAllowed(
                f"a whole number above 0 and a unit ({', '.join(units[:-1])} or {units[-1]}),"
                f' as in "90 seconds" or "1 minute"{", or empty" if optional else ""}'
            )
        return str(value)

    return _field(parse)


def milliseconds(duration: str) -> int:
    """The length of a duration in words that checked() has passed, such as "90 seconds"."""
    number, unit = duration.split()
    return int(number) * MILLISECONDS[unit.removesuffix("s")]


def _field(parse: Callable[[Any], Any]) -> Any:
    return dataclasses.field(metadata={"parse": parse})


def _number(value: Any) -> float:
    try:
        return float(value)
    except (ValueError, TypeError, OverflowError):
        return math.nan
