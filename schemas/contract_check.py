"""What is wrong with the contract, named before anything is rendered from it.

topics.json is validated against topics.schema.json, each <topic>.schema.json against JSON Schema and meta.schema.json.
Then the files are compared with each other. A developer's tool: the services don't have jsonschema.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, SchemaError, ValidationError
from jsonschema.exceptions import best_match
from registration.render import DRUID_TYPES
from service.contract import BadContract, read, shown

HERE = Path(__file__).resolve().parent
TOPICS, META = "topics.schema.json", "meta.schema.json"
CONTENT = "schemas/README.md says what it must contain"
# What the windows job and the filter of the supervisor spec need of a field
EVENT_TIME = ("pattern", "x-earliest", "x-seconds-ahead")
LENGTH, RANGE = ("minLength", "maxLength"), ("minimum", "maximum")

Json = dict[str, Any]


def check(folder: Path) -> None:
    """Raise BadContract, with one sentence, for the first thing that is wrong with the contract in `folder`."""
    path = folder / "topics.json"
    contract = read(path)
    validate(path, contract, read(HERE / TOPICS))
    known = {folder / TOPICS: TOPICS, folder / META: META}
    for role, entry in contract["topics"].items():
        schema_path = folder / f"{entry['name']}.schema.json"
        if schema_path in known:
            raise BadContract(
                f"{shown(path)}: topics.{role}.name is {json.dumps(entry['name'])}, and {shown(schema_path)} belongs to"
                f" {known[schema_path]} already: give the topic another name."
            )
        known[schema_path] = f"the role {role}"
        check_topic(path, schema_path, role, entry)
    for schema_path in sorted(set(folder.glob("*.schema.json")) - set(known)):
        raise BadContract(
            f"{shown(schema_path)} belongs to no topic in {shown(path)}: add the topic or remove the file."
        )


def check_topic(path: Path, schema_path: Path, role: str, entry: Mapping[str, Any]) -> None:
    """Raise BadContract for the first thing that is wrong with the schema of a topic, or with both together."""
    if not schema_path.exists():
        raise BadContract(
            f"{shown(schema_path)} is missing: add it for the role {role} ({CONTENT}), or correct topics.{role}.name in"
            f" {shown(path)}."
        )
    schema = read(schema_path)
    validate(schema_path, schema, read(HERE / META))
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise BadContract(f"{_place(schema_path, error)} is not valid: {error.message}; correct it.") from None
    problem = next(_problems(path, schema_path, role, entry, schema), None)
    if problem:
        raise BadContract(problem)


def validate(path: Path, document: Any, schema: Mapping[str, Any]) -> None:
    """Raise BadContract, in the words of the descriptions in `schema`, unless `document` is valid."""
    error = best_match(Draft202012Validator(schema).iter_errors(document))
    if error is None:
        return
    while "description" not in error.schema and error.parent:
        error = error.parent
    place, description = _place(path, error), error.schema["description"]
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        raise BadContract(f"{place} lacks {missing}: it must be {description}.")
    if error.validator == "additionalProperties":
        unknown = next(name for name in error.instance if name not in error.schema["properties"])
        raise BadContract(f"{place} has the unknown key {unknown}: it must be {description}.")
    raise BadContract(f"{place} is {_shortened(error.instance)}: it must be {description}.")


def _problems(
    path: Path, schema_path: Path, role: str, entry: Mapping[str, Any], schema: Mapping[str, Any]
) -> Iterator[str]:
    """What no JSON Schema says: names that stand in both files, and the fields that a part of the pipeline needs."""
    fields, key, where = schema["properties"], entry["key"], f"{shown(path)}: topics.{role}"
    listed = f"a field of {shown(schema_path)} ({', '.join(fields)})"
    for name in ("time", "entity") if role == "raw" else ():
        if name not in fields:
            yield f"{shown(schema_path)}: properties lacks {name}, which the windows job reads: add it."
    if key not in (*fields, "partition/offset", None):
        yield f'{where}.key is {json.dumps(key)}: it must be {listed}, "partition/offset", or null.'
    timestamp = entry["datasource"]["timestamp"] if "datasource" in entry else None
    if timestamp is not None:
        if timestamp not in fields:
            yield f"{where}.datasource.timestamp is {json.dumps(timestamp)}: it must be {listed}."
        elif _kinds(fields[timestamp]) != ["string"]:
            yield f'{shown(schema_path)}: properties.{timestamp} becomes __time: its type must be "string" (ISO 8601).'
        yield from _columns(schema_path, fields)
    if role == "raw":
        timestamp, key = "time", "entity"
    if timestamp in fields and (role == "raw" or "x-seconds-ahead" in fields[timestamp]):
        yield from _validated_fields(schema_path, fields, timestamp, key)
    if role == "raw":
        yield from _signals(schema_path, schema)


def _signals(schema_path: Path, schema: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the lists of signals beside the properties: in x-default-signals, and in `not`."""
    where, names = shown(schema_path), [name for name, field in schema["properties"].items() if "x-unit" in field]
    default, none = schema.get("x-default-signals", []), schema.get("not", {}).get("properties", {})
    if not default or default != [name for name in names if name in default]:
        yield (
            f"{where}: x-default-signals is {json.dumps(default)}: it must be one or more of the properties with x-unit"
            f" ({', '.join(names)}), in this order."
        )
    if none != {name: {"type": "null"} for name in names}:
        yield (
            f"{where}: not.properties has {', '.join(none) or 'no signal'}: it must have each property with x-unit"
            f' ({", ".join(names)}) as {{"type": "null"}}, so that a record without a signal is invalid.'
        )
    for name in names:
        if name not in schema["required"] and "null" not in _kinds(schema["properties"][name]):
            yield f'{where}: properties.{name} is a signal that may be missing: its type must be ["number", "null"].'


def _columns(schema_path: Path, fields: Mapping[str, Any]) -> Iterator[str]:
    """Fields of which Druid can't make a column."""
    for name, field in fields.items():
        kinds = set(_kinds(field)) - {"null"}
        # A text or a number, as an entity is, becomes a text.
        if field.get("x-druid", True) and not (
            (len(kinds) == 1 or "string" in kinds) and kinds and kinds <= set(DRUID_TYPES)
        ):
            yield (
                f"{shown(schema_path)}: properties.{name}.type is {json.dumps(field.get('type'))}, but Druid's columns"
                f' are {", ".join(DRUID_TYPES)}: change it, or add "x-druid": false to keep the field in Kafka only.'
            )


def _validated_fields(
    schema_path: Path, fields: Mapping[str, Any], timestamp: str | None, key: str | None
) -> Iterator[str]:
    """What the fields lack that the windows job, or the filter of a supervisor spec, validates."""
    for name, field in fields.items():
        kinds = [kind for kind in _kinds(field) if kind != "null" or "x-unit" not in field]
        where, kind = f"{shown(schema_path)}: properties.{name}", " or ".join(kinds)
        if "x-unit" in field and kind not in ("integer", "number"):
            yield f"{where} has x-unit and is of type {kind}: make it integer or number."
        ranged = kind == "number" or "x-unit" in field
        needed = EVENT_TIME if name == timestamp else LENGTH if name == key else RANGE if ranged else ()
        for keyword in needed:
            if keyword not in field:
                yield f"{where} lacks {keyword}, which the validation of records needs: add it."


def _kinds(field: Mapping[str, Any]) -> list[str]:
    kind = field.get("type", field.get("x-type"))
    return [kind] if isinstance(kind, str) else list(kind)


def _place(path: Path, error: ValidationError | SchemaError) -> str:
    """As in "schemas/topics.json: topics.raw.key"."""
    place = ".".join(map(str, error.absolute_path))
    return f"{shown(path)}: {place}" if place else shown(path)


def _shortened(value: Any) -> str:
    """A value in one line of JSON."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]} ..."
