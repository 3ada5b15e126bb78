"""A copy of the contract with a topic more, `probe`, and edits of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from repository import ROOT

Edit = Callable[[dict[str, Any]], Any]
TOPICS, RAW, PROBE = "topics", "sensor-data-raw.schema", "probe.schema"
ENTRY = {
    "name": "probe",
    "description": "What happened to a vehicle.",
    "partitions": 1,
    "config": {},
    "key": "entity",
    "datasource": {"timestamp": "time"},
}
SCHEMA = {
    "title": "Event",
    "type": "object",
    "required": ["time", "entity"],
    "properties": {
        "time": {"type": "string", "format": "date-time", "description": "when it happened"},
        "entity": {"type": "integer", "description": "number of the vehicle"},
        "kind": {"type": ["string", "null"], "description": "what happened"},
        "speed": {"type": "number", "x-unit": "km/h", "description": "how fast the vehicle was"},
    },
    "examples": [{"time": "2026-11-25T10:00:00Z", "entity": 7, "kind": "stop", "speed": 0.5}],
}


def copy_contract(folder: Path) -> None:
    """Copy schemas/ into `folder`, and add the topic `probe`."""
    shutil.copytree(ROOT / "schemas", folder / "schemas", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (folder / "schemas/probe.schema.json").write_text(json.dumps(SCHEMA))
    change(folder, TOPICS, lambda values: values["topics"].update(probe=ENTRY))


def change(folder: Path, name: str, edit: Edit) -> None:
    path = folder / f"schemas/{name}.json"
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))


def entry(**values: Any) -> Edit:
    """Change the entry of the topic `probe`; None removes a key."""

    def edit(contract: dict[str, Any]) -> None:
        found = contract["topics"]["probe"]
        found.update(values)
        for name in [name for name, value in values.items() if value is None]:
            del found[name]

    return edit


def field(name: str, **values: Any) -> Edit:
    """Change a field of a schema; None removes a key."""

    def edit(schema: dict[str, Any]) -> None:
        found = schema["properties"].setdefault(name, {})
        found.update({key.replace("_", "-"): value for key, value in values.items()})
        for key in [key for key, value in found.items() if value is None]:
            del found[key]

    return edit
