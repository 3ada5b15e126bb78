"""Recordings for the tests of the replay, and a contract that doesn't change with the real one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from generator.replay.recording import Recording, Summary


def _signal(unit: str, low: float, high: float) -> dict[str, Any]:
    return {"type": "number", "x-unit": unit, "minimum": low, "maximum": high}


SCHEMA: Mapping[str, Any] = {
    "required": ["time", "entity"],
    "properties": {
        "time": {"type": "string", "x-earliest": "2000-01-01T00:00:00Z", "x-seconds-ahead": 10},
        "entity": {"type": ["string", "integer"]},
        "temp": _signal("°C", -50, 60),
        "humidity": _signal("%", 0, 100),
        "speed": _signal("km/h", 0, 300),
        "odometer": _signal("km", 0, 5_000_000),
        "tire_pressure": _signal("kPa", 0, 1500),
        "seq": {"x-type": "integer"},
        "vin": {"x-type": "string"},
    },
}


def read(pattern: Path | str, mapping: str = "", **options: Any) -> tuple[Summary, list[tuple[str, dict[str, Any]]]]:
    """What a recording holds, and its records as (key, value). `mapping` is the content of a TOML file."""
    folder = Path(str(pattern).partition("*")[0])
    folder = (folder if folder.is_dir() else folder.parent).parent
    path = folder / "mapping.toml"
    path.write_text(mapping)
    recording = Recording(str(pattern), str(path) if mapping else "", SCHEMA, folder / "sorting")
    try:
        summary = recording.read(**options)
        rows = [row for block in recording.blocks(shift=0) for row in block]
        return summary, [(key.decode(), json.loads(value)) for _, key, value in rows]
    finally:
        recording.close()
        assert not (folder / "sorting").exists()
