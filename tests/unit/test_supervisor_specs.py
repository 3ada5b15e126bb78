"""The supervisor specs: rendered from a contract of the tests' own, and as they are checked in."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from registration.render import render, task_slots
from service.contract import Topic, topics
from spec_topics import FOLDER, TIME, TOPICS


def spec(name: str, timestamp: str, dimensions: list[tuple[str, str]], **io: Any) -> dict[str, Any]:
    """A spec without a filter. The dimensions are pairs of name and type."""
    return {
        "type": "kafka",
        "spec": {
            "dataSchema": {
                "dataSource": name,
                "timestampSpec": {"column": timestamp, "format": "iso"},
                "dimensionsSpec": {"dimensions": [{"type": kind, "name": column} for column, kind in dimensions]},
                "granularitySpec": {"segmentGranularity": "MONTH", "queryGranularity": "NONE", "rollup": False},
            },
            "ioConfig": {
                "topic": name,
                "inputFormat": {"type": "json"},
                "consumerProperties": {"bootstrap.servers": "kafka0:29092"},
                "useEarliestOffset": True,
                "taskCount": 1,
                "replicas": 1,
                "taskDuration": "PT1H",
                "completionTimeout": "PT10M",
                "startDelay": "PT1S",
                "period": "PT5S",
                **io,
            },
            "tuningConfig": {
                "type": "kafka",
                "resetOffsetAutomatically": True,
                "logParseExceptions": True,
                "maxSavedParseExceptions": 10,
            },
        },
    }


NO_BOOLEAN = {
    "type": "not",
    "field": {
        "type": "and",
        "fields": [
            {"type": "regex", "dimension": "kafka.key_as_sent", "pattern": "^(true|false)$"},
            {"type": "in", "dimension": "entity", "values": ["0", "1"]},
        ],
    },
}
TIME_AND_ENTITY = [
    {
        "type": "regex",
        "dimension": "time",
        "pattern": TIME,
    },
    {
        "type": "expression",
        "expression": "__time >= timestamp_parse('2000-01-01T00:00:00Z') && __time <= \"kafka.timestamp\" + 10000",
    },
    {"type": "regex", "dimension": "entity", "pattern": r"^(?s:.{1,256})\z"},
    NO_BOOLEAN,
]
SIGNALS = [
    {"type": "regex", "dimension": "temp", "pattern": "^-?[0-9]"},
    {
        "type": "expression",
        "expression": "regexp_like(to_json_string(temp), '^[-+.0-9E]+$') && temp >= -50 && temp <= 60",
    },
    {"type": "regex", "dimension": "humidity", "pattern": "^-?[0-9]"},
    {
        "type": "expression",
        "expression": "regexp_like(to_json_string(humidity), '^[-+.0-9E]+$') && humidity >= -0.0 && humidity <= 100",
    },
]


def missing(expression: str) -> dict[str, Any]:
    return {"type": "expression", "expression": expression}


def optional(name: str, number: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "or", "fields": [{"type": "and", "fields": number}, missing(f"isnull({name})")]}


def raw_spec(dimensions: list[tuple[str, str]], conditions: list[dict[str, Any]]) -> dict[str, Any]:
    nothing = {"type": "tree", "name": "kafka.timestamp", "nodes": ["time", "kafka.timestamp"]}
    as_sent = {"type": "tree", "name": "kafka.key_as_sent", "nodes": ["entity"]}
    payload = {"type": "json", "flattenSpec": {"useFieldDiscovery": False, "fields": [nothing, as_sent]}}
    kafka = {"type": "kafka", "timestampColumnName": "kafka.timestamp", "valueFormat": payload}
    result = spec("sensor-data-raw", "time", dimensions, inputFormat=kafka)
    result["spec"]["dataSchema"]["transformSpec"] = {
        "filter": {"type": "and", "fields": conditions},
        "transforms": [
            {
                "type": "expression",
                "name": "entity",
                "expression": "case_searched(regexp_like(to_json_string(entity), '^\"')"
                " && !regexp_like(to_json_string(entity), '^\"-?Infinity\"$'), entity,"
                " regexp_like(to_json_string(entity), '^-?[0-9]+$'), cast(entity, 'STRING'),"
                " regexp_like(to_json_string(entity), '^[-+.0-9E]+$') && entity == floor(entity)"
                " && abs(entity) <= 9007199254740992, cast(cast(entity, 'LONG'), 'STRING'), null)",
            }
        ],
    }
    return result


RAW = raw_spec(
    [("entity", "string"), ("temp", "double"), ("humidity", "double"), ("seq", "long"), ("vin", "string")],
    TIME_AND_ENTITY + SIGNALS,
)
AGGREGATED = spec(
    "sensor-data-aggregated",
    "window_start",
    [
        ("window", "string"),
        ("entity", "long"),
        ("count", "long"),
        ("max_temp", "double"),
    ],
)
REJECTED = spec("sensor-data-rejected", "time", [("offset", "long"), ("size", "long"), ("value", "string")])


@pytest.mark.parametrize(("role", "expected"), [("raw", RAW), ("aggregated", AGGREGATED), ("rejected", REJECTED)])
def test_a_topic_with_a_datasource_is_rendered_from_its_schema(role: str, expected: dict[str, Any]) -> None:
    assert render(TOPICS[role]) == expected


@pytest.mark.parametrize(
    "topic", [topic for topic in topics().values() if topic.datasource], ids=lambda topic: topic.role
)
def test_the_specs_are_checked_in_as_rendered(topic: Topic) -> None:
    expected = json.dumps(render(topic), indent=2, ensure_ascii=False) + "\n"
    assert (FOLDER / f"{topic.default_name}.json").read_text() == expected, "run `make render`"


def with_signal(required: bool, **field: Any) -> Topic:
    """The raw topic with a signal more, `speed`."""
    schema = copy.deepcopy(dict(TOPICS["raw"].schema))
    schema["properties"]["speed"] = {"x-unit": "km/h", **field}
    schema["required"] = [*schema["required"], *(["speed"] if required else [])]
    return replace(TOPICS["raw"], schema=schema)


def test_a_required_signal_is_a_column_and_two_conditions() -> None:
    rendered = render(with_signal(required=True, type="number", minimum=0, maximum=250.5))
    data = rendered["spec"]["dataSchema"]
    assert data["dimensionsSpec"]["dimensions"][-1] == {"type": "double", "name": "speed"}
    assert data["transformSpec"]["filter"]["fields"] == [
        *TIME_AND_ENTITY,
        *SIGNALS,
        {"type": "regex", "dimension": "speed", "pattern": "^-?[0-9]"},
        {
            "type": "expression",
            "expression": "regexp_like(to_json_string(speed), '^[-+.0-9E]+$') && speed >= -0.0 && speed <= 250.5",
        },
    ]


def test_an_optional_signal_may_also_be_null_or_missing() -> None:
    rendered = render(with_signal(required=False, type="integer", minimum=-20, maximum=250))
    data = rendered["spec"]["dataSchema"]
    assert data["dimensionsSpec"]["dimensions"][-1] == {"type": "long", "name": "speed"}
    assert data["transformSpec"]["filter"]["fields"][-1] == optional("speed", SPEED)


SPEED = [
    {"type": "regex", "dimension": "speed", "pattern": "^-?[0-9]+$"},
    {
        "type": "expression",
        "expression": "regexp_like(to_json_string(speed), '^[-+.0-9E]+$') && speed >= -20 && speed <= 250",
    },
]


def test_signals_that_are_not_sent_by_default_are_asked_for_together_and_one_of_all_must_be_there() -> None:
    schema = copy.deepcopy(dict(TOPICS["raw"].schema))
    field = {"type": "integer", "minimum": -20, "maximum": 250, "x-unit": "1"}
    schema["properties"] |= {"speed": field, "range": field}
    schema |= {"required": ["time", "entity"], "x-default-signals": ["temp", "humidity"], "not": {}}
    rendered = render(replace(TOPICS["raw"], schema=schema))
    by_name = json.loads(json.dumps(SPEED).replace("speed", "range"))
    others = [optional("speed", SPEED), optional("range", by_name)]
    assert rendered["spec"]["dataSchema"]["transformSpec"]["filter"]["fields"] == [
        *TIME_AND_ENTITY,
        optional("temp", SIGNALS[:2]),
        optional("humidity", SIGNALS[2:]),
        {"type": "or", "fields": [missing("isnull(speed) && isnull(range)"), {"type": "and", "fields": others}]},
        {
            "type": "not",
            "field": missing("isnull(temp) && isnull(humidity) && isnull(speed) && isnull(range)"),
        },
    ]


def test_the_limits_of_time_and_entity_are_those_of_the_schema() -> None:
    schema = copy.deepcopy(dict(TOPICS["raw"].schema))
    schema["properties"]["time"] |= {"pattern": "Z$", "x-earliest": "2020-01-01T00:00:00Z", "x-seconds-ahead": 60}
    schema["properties"]["entity"] |= {"minLength": 2, "maxLength": 17}
    rendered = render(replace(TOPICS["raw"], schema=schema))
    assert rendered["spec"]["dataSchema"]["transformSpec"]["filter"]["fields"][:4] == [
        {"type": "regex", "dimension": "time", "pattern": "Z$"},
        {
            "type": "expression",
            "expression": "__time >= timestamp_parse('2020-01-01T00:00:00Z') && __time <= \"kafka.timestamp\" + 60000",
        },
        {"type": "regex", "dimension": "entity", "pattern": r"^(?s:.{2,17})\z"},
        NO_BOOLEAN,
    ]


def test_a_topic_without_a_datasource_has_no_spec() -> None:
    with pytest.raises(ValueError, match="topic sensor-data-progress no datasource"):
        render(TOPICS["progress"])


def test_each_datasource_needs_two_task_slots_and_compaction_and_removal_one_more_each() -> None:
    topics = {f"topic {number}": TOPICS["raw"] for number in range(5)}
    assert task_slots(topics) == task_slots({**topics, "progress": TOPICS["progress"]}) == 12


def test_the_coordinator_may_remove_unused_segments_with_a_tenth_of_the_slots_rounded_down() -> None:
    assert task_slots({"raw": TOPICS["raw"]}) // 10 == 1
