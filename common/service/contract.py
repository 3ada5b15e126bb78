"""The contract in schemas/: which topics there are, and what a record of each holds."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.settings import BadSetting

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"


@dataclass(frozen=True)
class Datasource:
    """The Druid datasource that holds the records of a topic."""

    name: str
    timestamp: str  # the field that becomes __time


@dataclass(frozen=True)
class Topic:
    """A Kafka topic."""

    role: str  # "raw", "aggregated", ...: what the services call it, whatever its name
    name: str
    default_name: str  # as in schemas/topics.json
    partitions: int
    config: Mapping[str, str]  # Kafka's topic settings that differ from the broker's
    key: str | None  # what the records are keyed by
    datasource: Datasource | None
    schema: Mapping[str, Any]  # JSON Schema of a record's value


@dataclass(frozen=True)
class Signal:
    """What a sensor measures: a number with a unit in a physical range. A record may lack it where it is optional."""

    name: str
    unit: str
    low: float
    high: float
    optional: bool


def topics(environment: Mapping[str, str] | None = None) -> dict[str, Topic]:
    """All topics by role. KAFKA_<ROLE>_TOPIC in `environment` overrides the name of a topic.

    Raises BadSetting when that is empty.
    """
    known = json.loads((SCHEMAS / "topics.json").read_text())["topics"]
    return {role: _topic(role, entry, environment or {}) for role, entry in known.items()}


def setting(role: str) -> str:
    """The environment variable that overrides the name of a topic."""
    return f"KAFKA_{role.upper()}_TOPIC"


def signals(schema: Mapping[str, Any]) -> list[Signal]:
    """The signals of a schema, in its order: its properties with a unit."""
    return [
        Signal(name, field["x-unit"], field["minimum"], field["maximum"], name not in schema["required"])
        for name, field in schema["properties"].items()
        if "x-unit" in field
    ]


def _topic(role: str, entry: Mapping[str, Any], environment: Mapping[str, str]) -> Topic:
    default_name = entry["name"]
    name = environment.get(setting(role), default_name)
    if not name:
        raise BadSetting(f"{setting(role)} is {name!r}: it must be the name of a topic.")
    druid = entry.get("datasource")
    return Topic(
        role=role,
        name=name,
        default_name=default_name,
        partitions=entry["partitions"],
        config=entry["config"],
        key=entry["key"],
        datasource=Datasource(default_name, druid["timestamp"]) if druid else None,
        schema=json.loads((SCHEMAS / f"{default_name}.schema.json").read_text()),
    )
