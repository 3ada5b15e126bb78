"""The form of a reading, derived from schemas/sensor-data-raw.schema.json. Pure: it knows no Spark."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.contract import Signal, default_signals, signals

INT_MAX = 2**31 - 1
MARKER = ""  # the entity of the control topic's markers, which no vehicle can have
TIME = r'"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{3}Z"'
TEXT = r'"[0-9A-Z]*+"'
# A whole number, or a text of ASCII without quotes, backslashes and commas, at which a plain record is split; but not a
# text that may be a whole number
NUMBER_OR_TEXT = r'(?:[1-9][0-9]{0,17}+|"(?!-?[0-9]{1,19}")[ !#-+\x2D-\x5B\x5D-~]{1,256}+")'

# The columns of an entity, one of which is null: a whole number is a BIGINT, which Spark copies, hashes and compares
# faster than a string.
ENTITY = ("entity_number", "entity_text")


@dataclass(frozen=True)
class Form:
    """What the job reads of a record of the raw topic, and which records it accepts."""

    fields: Mapping[str, str]  # the fields that aggregations may use -> their types in Spark SQL
    signals: tuple[Signal, ...]
    names: tuple[str, ...]  # of every field in the order of the generator
    plain: Mapping[str, str]  # the fields that it sends by default -> a regular expression of `"name":value`
    time_pattern: str
    earliest: str  # event time; before it, the clock of the vehicle was never set
    seconds_ahead: int  # how far an event time may be ahead of Kafka's timestamp of the record
    longest_entity: int  # characters

    @classmethod
    def of(cls, schema: Mapping[str, Any]) -> "Form":
        properties, measured = schema["properties"], tuple(signals(schema))
        types = {name: _type(field) for name, field in properties.items()}
        others = [name for name in properties if name not in ("time", "entity", *(signal.name for signal in measured))]
        order = ["time", "entity", *(signal.name for signal in measured), *others]
        sent = ["time", "entity", *default_signals(schema), *others]
        expressions = {name: _plain(name, types[name], properties[name]) for name in sent}
        expressions["time"] = r"\{" + expressions["time"]
        expressions[sent[-1]] += r"\}"
        return cls(
            # Other texts are not for aggregations.
            fields={name: types[name] for name in order if name in ("time", "entity") or types[name] != "STRING"},
            signals=measured,
            names=tuple(order),
            plain=expressions,
            time_pattern=properties["time"]["pattern"],
            earliest=properties["time"]["x-earliest"],
            seconds_ahead=properties["time"]["x-seconds-ahead"],
            longest_entity=properties["entity"]["maxLength"],
        )

    @property
    def plain_pattern(self) -> str:
        """A record exactly as the generator writes it by default.

        What its fields hold is found by their places, much faster than from_json finds it; records of any other form
        are parsed by from_json. A test holds both ways together.
        """
        return rf"^{','.join(self.plain.values())}\z"

    def marker(self) -> dict[str, Any]:
        """The fields, apart from the time, that make a marker of the control topic a reading: see idle.py."""
        sent = (signal for signal in self.signals if signal.name in self.plain or not signal.optional)
        return {"entity": MARKER} | {signal.name: signal.low for signal in sent}


def _type(field: Mapping[str, Any]) -> str:
    kind = field.get("type", field.get("x-type"))
    if isinstance(kind, list):  # an entity, which may be a number or a text, is handled as a text
        kind, *more = (each for each in kind if each != "null")
        if more:
            return "STRING"
    if kind == "integer":
        return "INT" if field.get("maximum", 2**63) <= INT_MAX else "BIGINT"
    return "DOUBLE" if kind == "number" else "STRING"


def _plain(name: str, kind: str, field: Mapping[str, Any]) -> str:
    """A regular expression of a field as the generator writes it, which only values of its type match."""
    if name == "time":
        value = TIME
    elif name == "entity":
        value = NUMBER_OR_TEXT
    elif kind in ("INT", "BIGINT"):
        value = f"[1-9][0-9]{{0,{8 if kind == 'INT' else 17}}}+"
    elif kind == "DOUBLE":
        digits = max(len(str(int(abs(field[limit])))) for limit in ("minimum", "maximum"))
        whole = "[1-9]?[0-9]" if digits <= 2 else f"(?:0|[1-9][0-9]{{0,{digits - 1}}})"
        value = f"{'-?' if field['minimum'] < 0 else ''}{whole}[.][0-9]{{1,9}}+"
    else:
        value = TEXT
    return f'"{name}":{value}'
