"""The mapping of a recording's columns to the contract: a TOML or JSON file, checked. Knows no data."""

import difflib
import json
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.contract import Signal

from generator.replay.errors import BadRecording

ISO, SECONDS, MILLISECONDS = "iso", "seconds", "milliseconds"

# By the contract's unit: the units that are converted to it, and how, as SQL. Results are rounded: 68 °F are 20 °C.
CONVERSIONS: dict[str, dict[str, str]] = {
    "°C": {"°F": "({} - 32) / 1.8"},
    "km/h": {"mph": "{} * 1.609344"},
    "km": {"miles": "{} * 1.609344"},
    "kPa": {"psi": "{} * 6.894757293168"},
}


@dataclass(frozen=True)
class MappedSignal:
    """A signal, and where a recording has it."""

    signal: Signal
    source: str  # the column, or in a long recording the name in the column of names
    unit: str  # of the recording

    @property
    def conversion(self) -> str:
        """SQL with {} for the recording's value."""
        if self.unit == self.signal.unit:
            return "{}"
        return f"round({CONVERSIONS[self.signal.unit][self.unit]}, 6)"


@dataclass(frozen=True)
class Long:
    """The columns of a recording with one signal a row."""

    signal: str  # the column of the signal's name
    value: str


@dataclass(frozen=True)
class RecordingMapping:
    """Which columns hold what."""

    path: str  # of the file; empty for the names of the contract
    time: str
    time_format: str  # ISO, SECONDS, MILLISECONDS, or a format of strptime
    zone: str | None  # of times without one
    entity: str
    signals: Sequence[MappedSignal]
    all_needed: bool  # whether a signal without its column is an error
    long: Long | None

    @property
    def has_zone(self) -> bool:
        """Whether the format itself has a zone."""
        return "%z" in self.time_format or "%Z" in self.time_format

    def __str__(self) -> str:
        return f"The mapping {self.path}" if self.path else "The recording"


def read_mapping(path: str, signals: Sequence[Signal]) -> RecordingMapping:
    """The mapping in a file, or for no path the one by the contract's names. Raises BadRecording."""
    return parse_mapping(_read(path) if path else {}, path, signals)


def parse_mapping(found: Any, path: str, signals: Sequence[Signal]) -> RecordingMapping:
    """The mapping in the content of a file. Raises BadRecording."""
    by_name = {signal.name: signal for signal in signals}
    tables = _table(found, path, "", ("time", "entity", "signals", "long"))
    time = _table(tables.get("time", {}), path, "time", ("column", "format", "zone"))
    entity = _table(tables.get("entity", {}), path, "entity", ("column",))
    long = _table(tables["long"], path, "long", ("signal", "value")) if "long" in tables else None
    given = _table(tables.get("signals", {}), path, "signals", by_name) or {name: {} for name in by_name}
    source = "column" if long is None else "name"
    mapped = []
    for name, entry in given.items():
        keys = _table(entry, path, f"signals.{name}", (source, "unit"))
        unit = _text(keys, "unit", by_name[name].unit, path, f"signals.{name}")
        _check_unit(unit, by_name[name], path)
        mapped.append(MappedSignal(by_name[name], _text(keys, source, name, path, f"signals.{name}"), unit))
    result = RecordingMapping(
        path=path,
        time=_text(time, "column", "time", path, "time"),
        time_format=_text(time, "format", ISO, path, "time"),
        zone=_text(time, "zone", "", path, "time") or None,
        entity=_text(entity, "column", "entity", path, "entity"),
        signals=mapped,
        all_needed=bool(tables.get("signals")),
        long=None if long is None else Long(*(_text(long, name, name, path, "long") for name in ("signal", "value"))),
    )
    _check_time(result)
    return result


def nearest(name: str, names: Collection[str]) -> str:
    """The end of a sentence on a name that is not among others: which one is meant, or which there are."""
    close = difflib.get_close_matches(name, names, n=1) or difflib.get_close_matches(
        name.lower(), [each for each in names if each.lower() == name.lower()], n=1
    )
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(map(repr, names)) or 'none'}."


def _read(path: str) -> Any:
    kind = "JSON" if path.lower().endswith(".json") else "TOML"
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        return json.loads(text) if kind == "JSON" else tomllib.loads(text)
    except OSError as error:
        raise BadRecording(f"The mapping {path} can't be read: {error.strerror or error}.") from None
    except ValueError as error:  # of UTF-8 too
        raise BadRecording(f"The mapping {path} is not valid {kind} ({error}): correct it.") from None


def _table(found: Any, path: str, name: str, keys: Collection[str]) -> Mapping[str, Any]:
    where = f"[{name}] in the mapping {path}" if name else f"The mapping {path}"
    if not isinstance(found, dict):
        raise BadRecording(f"{where} is {found!r}: it must be a table.")
    for key in found:
        if key not in keys:
            raise BadRecording(f"{where} has the unknown key {key!r}: {nearest(key, keys)}")
    return found


def _text(table: Mapping[str, Any], key: str, default: str, path: str, name: str) -> str:
    value = table.get(key, default)
    if not isinstance(value, str) or (not value and key in table):
        raise BadRecording(
            f"{key} of [{name}] in the mapping {path} is {value!r}: it must be a text that is not empty."
        )
    return value


def _check_unit(unit: str, signal: Signal, path: str) -> None:
    units = [signal.unit, *CONVERSIONS.get(signal.unit, {})]
    if unit not in units:
        raise BadRecording(
            f"unit of [signals.{signal.name}] in the mapping {path} is {unit!r}: it must be {' or '.join(units)}."
        )


def _check_time(mapping: RecordingMapping) -> None:
    known = (ISO, SECONDS, MILLISECONDS)
    where = f"[time] in the mapping {mapping.path}"
    if mapping.time_format not in known and "%" not in mapping.time_format:
        raise BadRecording(
            f"format of {where} is {mapping.time_format!r}: it must be {', '.join(known)}, or a format of strptime such"
            ' as "%d.%m.%Y %H:%M:%S".'
        )
    if mapping.time_format not in known and not mapping.has_zone and not mapping.zone:
        raise BadRecording(
            f'format of {where} has no zone (%z): add zone, such as zone = "Europe/Berlin" or zone = "UTC".'
        )
