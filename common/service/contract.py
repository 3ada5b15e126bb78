"""The contract in schemas/: which topics there are, and what a record of each holds."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.settings import BadSetting

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
# The topics that the services can't do without
ROLES = ("raw", "aggregated", "rejected", "late", "progress", "control", "runs")
# What a topic needs unless schemas/topics.json says otherwise: compaction would remove records that the ledger counts.
NEEDED = {"cleanup.policy": "delete"}


class BadContract(BadSetting):
    """A file in schemas/ is missing or not valid; the text names it and what to do."""


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
    key: str | None  # the field that the records are keyed by, "partition/offset", or None for no key
    datasource: Datasource | None
    schema: Mapping[str, Any]  # JSON Schema of a record's value

    @property
    def needed(self) -> dict[str, str]:
        """The settings that the topic must have in Kafka, whatever the broker's are."""
        return {**NEEDED, **self.config}

    def different(self, found: Mapping[str, str | None]) -> dict[str, str]:
        """The needed settings that the topic lacks or has with another value; `found` are its settings in Kafka."""
        return {name: value for name, value in self.needed.items() if found.get(name) != value}


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

    Raises BadSetting when that is empty, and BadContract when a file or an entry is missing. schemas/render.py checks
    the files thoroughly.
    """
    path = SCHEMAS / "topics.json"
    try:
        found = {role: _topic(role, entry, environment or {}) for role, entry in read(path)["topics"].items()}
    except (LookupError, TypeError, AttributeError) as error:
        raise BadContract(
            f"{shown(path)} is not valid ({type(error).__name__}: {error}): `make render` names the entry to correct."
        ) from error
    if missing := [role for role in ROLES if role not in found]:
        raise BadContract(
            f"{shown(path)} lacks {', '.join(missing)}: the services need a topic of each of these roles."
        )
    return found


def read(path: Path) -> Any:
    """The JSON in a file of the contract. Raises BadContract."""
    try:
        return json.loads(path.read_text(), object_pairs_hook=_object)
    except FileNotFoundError:
        raise BadContract(f"{shown(path)} is missing: add it; schemas/README.md says what it must contain.") from None
    except ValueError as error:
        raise BadContract(f"{shown(path)} is not valid JSON ({error}): correct it.") from error


def shown(path: Path) -> str:
    """A file of the contract as messages name it."""
    return f"{path.parent.name}/{path.name}"


def setting(role: str) -> str:
    """The environment variable that overrides the name of a topic."""
    return f"KAFKA_{role.upper()}_TOPIC"


def default_signals(schema: Mapping[str, Any]) -> list[str]:
    """The signals that the generator sends unless it is told otherwise, in the order of the schema."""
    return list(schema["x-default-signals"])


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
    return Topic(
        role=role,
        name=name,
        default_name=default_name,
        partitions=entry["partitions"],
        config=entry["config"],
        key=entry["key"],
        datasource=Datasource(default_name, entry["datasource"]["timestamp"]) if "datasource" in entry else None,
        schema=read(SCHEMAS / f"{default_name}.schema.json"),
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Of two values with one key json keeps the last, so a copied entry would hide the other topic."""
    keys = [key for key, _ in pairs]
    if repeated := next((key for key in keys if keys.count(key) > 1), None):
        raise ValueError(f"the key {repeated!r} is there twice")
    return dict(pairs)
