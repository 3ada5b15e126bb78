"""The supervisor spec of a topic, rendered from its schema and template.json. Pure: it asks neither Kafka nor Druid."""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from service.contract import Topic

TEMPLATE = json.loads((Path(__file__).parent / "template.json").read_text())
KAFKA_TIMESTAMP = "kafka.timestamp"  # the column with Kafka's timestamp of a record
KEY_AS_SENT = "kafka.key_as_sent"  # the key in the payload, before _as_text()
DRUID_TYPES = {"integer": "long", "number": "double", "string": "string"}

Json = dict[str, Any]


def render(topic: Topic) -> Json:
    """The spec of a topic with a datasource, with the topic's default name, as it is checked in.

    Only the records that the windows job accepts enter the datasource of a topic whose event time is limited.
    """
    if topic.datasource is None:
        raise ValueError(f"schemas/topics.json gives topic {topic.default_name} no datasource")
    rendered: Json = copy.deepcopy(TEMPLATE)
    data, io = rendered["spec"]["dataSchema"], rendered["spec"]["ioConfig"]
    timestamp = topic.datasource.timestamp
    data["dataSource"] = topic.datasource.name
    data["timestampSpec"]["column"] = timestamp
    data["dimensionsSpec"]["dimensions"] = [
        {"type": DRUID_TYPES[_type(field)], "name": name}
        for name, field in topic.schema["properties"].items()
        if name != timestamp and field.get("x-druid", True)
    ]
    io["topic"] = topic.default_name
    if "x-seconds-ahead" in topic.schema["properties"][timestamp]:
        data["transformSpec"]["filter"] = {"type": "and", "fields": list(_conditions(topic, timestamp))}
        # With Kafka's own timestamp of a record, which the filter needs. A field of that name in the payload would take
        # its place; so the payload's is looked for where no valid record has any: inside the event time, a text.
        fields = [{"type": "tree", "name": KAFKA_TIMESTAMP, "nodes": [timestamp, KAFKA_TIMESTAMP]}]
        if topic.key and topic.key in topic.schema["properties"]:
            data["transformSpec"]["transforms"] = [_as_text(topic.key)]
            fields.append({"type": "tree", "name": KEY_AS_SENT, "nodes": [topic.key]})
        payload = {**io["inputFormat"], "flattenSpec": {"useFieldDiscovery": False, "fields": fields}}
        io["inputFormat"] = {"type": "kafka", "timestampColumnName": KAFKA_TIMESTAMP, "valueFormat": payload}
    else:
        del data["transformSpec"]
    return rendered


def task_slots(topics: Mapping[str, Topic]) -> int:
    """The task slots that the datasources of the topics need, druid.worker.capacity.

    Each supervisor has tasks that read and as many before them that still publish their segments. One slot is for
    compaction and one for the removal of unused segments, for which the coordinator takes a tenth of all slots, rounded
    down (killTaskSlotRatio): with fewer than 10 it would remove none.
    """
    io = TEMPLATE["spec"]["ioConfig"]
    reading = sum(int(io["taskCount"] * io["replicas"]) for topic in topics.values() if topic.datasource)
    return max(2 * reading + 2, 10)


def _type(field: Mapping[str, Any]) -> str:
    """The type of a property's column, in JSON Schema's words: a text or a number is stored as a text.

    The property may be null besides, as every column of Druid may.
    """
    kind = field.get("type", field.get("x-type"))
    if isinstance(kind, str):
        return kind
    return "string" if "string" in kind else next(each for each in kind if each != "null")


def _conditions(topic: Topic, timestamp: str) -> Iterator[Json]:
    """The conditions on the fields of a valid record: its event time, its key and its signals."""
    for name, field in topic.schema["properties"].items():
        if name == timestamp:
            yield _regex(name, field["pattern"])
            yield _expression(
                f"__time >= timestamp_parse('{field['x-earliest']}')"
                f' && __time <= "{KAFKA_TIMESTAMP}" + {field["x-seconds-ahead"] * 1000}'
            )
        elif name == topic.key:
            # Of what _as_text() makes of it. A dot in Java's regular expressions is a character, not half of one.
            yield _regex(name, f"^(?s:.{{{field['minLength']},{field['maxLength']}}})\\z")
            # In Druid's expressions true and false are 1 and 0.
            zero_or_one = {"type": "in", "dimension": name, "values": ["0", "1"]}
            boolean = {"type": "and", "fields": [_regex(KEY_AS_SENT, "^(true|false)$"), zero_or_one]}
            yield {"type": "not", "field": boolean}
    yield from _signal_conditions(topic.schema)


def _signal_conditions(schema: Mapping[str, Any]) -> Iterator[Json]:
    """The conditions on the signals: each is a number in its range, or missing where that is allowed, but not all."""
    measured = {name: field for name, field in schema["properties"].items() if "x-unit" in field}
    optional = [name for name in measured if name not in schema["required"]]
    usual = schema.get("x-default-signals", list(measured))
    others = []
    for name, field in measured.items():
        number = _signal(name, field)
        if name not in optional:
            yield from number
            continue
        # The usual case first: Druid asks no further.
        condition = {"type": "or", "fields": [{"type": "and", "fields": number}, _missing([name])]}
        if name in usual:
            yield condition
        else:
            others.append(condition)
    if others:
        rare = [name for name in optional if name not in usual]
        yield {"type": "or", "fields": [_missing(rare), {"type": "and", "fields": others}]}
    if "not" in schema:
        yield {"type": "not", "field": _missing(optional)}


def _missing(names: Sequence[str]) -> Json:
    """All these fields are missing. The filter of type "null" would also accept an empty list."""
    return _expression(" && ".join(f"isnull({name})" for name in names))


def _as_text(key: str) -> Json:
    """The key as a text. It may be a text or a whole number in JSON: 7, 7.0 and "7" become "7"; others become null."""
    json = f"to_json_string({key})"
    # A number too large for a double is infinite, which Druid writes as a text.
    text = f"regexp_like({json}, '^\"') && !regexp_like({json}, '^\"-?Infinity\"$')"
    integer = f"regexp_like({json}, '^-?[0-9]+$')"
    # Druid reads any other number as a double, which is exact up to 2^53.
    whole = f"{_is_number(key)} && {key} == floor({key}) && abs({key}) <= 9007199254740992"
    string = f"cast(cast({key}, 'LONG'), 'STRING')"
    expression = f"case_searched({text}, {key}, {integer}, cast({key}, 'STRING'), {whole}, {string}, null)"
    return {"type": "expression", "name": key, "expression": expression}


def _signal(name: str, field: Mapping[str, Any]) -> list[Json]:
    # Sensors send -0.0, which equals 0; in Druid's order it is below 0.
    low = field["minimum"] or "-0.0"
    return [
        _regex(name, "^-?[0-9]+$" if _type(field) == "integer" else "^-?[0-9]"),
        _expression(f"{_is_number(name)} && {name} >= {low} && {name} <= {field['maximum']}"),
    ]


def _is_number(name: str) -> str:
    """The field is a number in JSON. Druid would also take it from a string or a list."""
    return f"regexp_like(to_json_string({name}), '^[-+.0-9E]+$')"


def _regex(name: str, pattern: str) -> Json:
    return {"type": "regex", "dimension": name, "pattern": pattern}


def _expression(expression: str) -> Json:
    return {"type": "expression", "expression": expression}
