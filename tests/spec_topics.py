"""The topics of a contract of the tests' own, from which supervisor specs are rendered."""

from typing import Any

from repository import ROOT
from service.contract import Datasource, Topic

FOLDER = ROOT / "supervisor-specs"


def topic(role: str, fields: dict[str, Any], optional: tuple[str, ...] = (), timestamp: str | None = "time") -> Topic:
    """A topic of the tests' contract, keyed by entity."""
    name = f"sensor-data-{role}"
    schema = {"required": [field for field in fields if field not in optional], "properties": fields}
    return Topic(role, name, name, 1, {}, "entity", Datasource(name, timestamp) if timestamp else None, schema)


TIME = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-](0[0-9]|1[0-7])(:?[0-5][0-9])?)$"
RAW_FIELDS = {
    "time": {
        "type": "string",
        "pattern": TIME,
        "x-earliest": "2000-01-01T00:00:00Z",
        "x-seconds-ahead": 10,
    },
    "entity": {"type": ["string", "integer"], "minLength": 1, "maxLength": 256},
    "temp": {"type": "number", "minimum": -50, "maximum": 60, "x-unit": "°C"},
    "humidity": {"type": "number", "minimum": 0, "maximum": 100, "x-unit": "%"},
    "seq": {"x-type": "integer"},
    "vin": {"x-type": "string"},
}
AGGREGATED_FIELDS = {
    "window": {"type": "string"},
    "window_start": {"type": "string"},
    "entity": {"type": "integer"},
    "count": {"type": "integer"},
    "max_temp": {"type": "number", "x-unit": "°C"},
}
REJECTED_FIELDS = {
    "time": {"type": "string"},
    "offset": {"type": "integer", "minimum": 0},
    "size": {"type": ["integer", "null"]},
    "value": {"type": ["string", "null"]},
    "value_base64": {"type": ["string", "null"], "x-druid": False},
}
TOPICS = {
    "raw": topic("raw", RAW_FIELDS, optional=("seq", "vin")),
    "aggregated": topic("aggregated", AGGREGATED_FIELDS, timestamp="window_start"),
    "rejected": topic("rejected", REJECTED_FIELDS),
    "progress": topic("progress", {"offsets": {"type": "object"}}, timestamp=None),
}
