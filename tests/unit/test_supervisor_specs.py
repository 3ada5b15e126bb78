"""The supervisor specs: rendered from a contract of the tests' own, compared with it, and as they are checked in."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from registration.render import render, task_slots
from registration.specs import InvalidSpec, load_specs
from repository import ROOT
from service.contract import Datasource, Topic, topics

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
            "tuningConfig": {"type": "kafka", "logParseExceptions": True, "maxSavedParseExceptions": 10},
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
    assert data["transformSpec"]["filter"]["fields"][-1] == {
        "type": "or",
        "fields": [
            {"type": "expression", "expression": "isnull(speed)"},
            {
                "type": "and",
                "fields": [
                    {"type": "regex", "dimension": "speed", "pattern": "^-?[0-9]+$"},
                    {
                        "type": "expression",
                        "expression": "regexp_like(to_json_string(speed), '^[-+.0-9E]+$')"
                        " && speed >= -20 && speed <= 250",
                    },
                ],
            },
        ],
    }


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


def test_each_datasource_needs_two_task_slots_and_compaction_one_more() -> None:
    assert task_slots(TOPICS) == 7
    assert task_slots({role: TOPICS[role] for role in ("raw", "progress")}) == 3


def test_the_specs_are_loaded_with_the_present_brokers_and_topics() -> None:
    present = topics({"KAFKA_RAW_TOPIC": "fleet"})
    specs = load_specs(FOLDER, present, "broker:1")
    assert {name: each["spec"]["ioConfig"]["topic"] for name, each in specs.items()} == {
        topic.datasource.name: topic.name for topic in present.values() if topic.datasource
    }
    for name, loaded in specs.items():
        checked_in = json.loads((FOLDER / f"{name}.json").read_text())
        assert loaded["spec"]["dataSchema"] == checked_in["spec"]["dataSchema"]
        assert loaded["spec"]["ioConfig"]["consumerProperties"]["bootstrap.servers"] == "broker:1"
    assert specs["sensor-data-raw"]["spec"]["ioConfig"]["topic"] == "fleet"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The specs of the tests' contract as they are rendered."""
    result = tmp_path / "supervisor-specs"
    result.mkdir()
    for each in TOPICS.values():
        if each.datasource:
            (result / f"{each.default_name}.json").write_text(json.dumps(render(each)))
    return result


def change(folder: Path, name: str, edit: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / f"{name}.json"
    values = json.loads(path.read_text())
    edit(values["spec"])
    path.write_text(json.dumps(values))


def refused(folder: Path) -> str:
    with pytest.raises(InvalidSpec) as error:
        load_specs(folder, TOPICS, "broker:1")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_ingestion_and_tuning_may_be_edited_by_hand(folder: Path) -> None:
    change(folder, "sensor-data-raw", lambda values: values["ioConfig"].update(taskCount=2, taskDuration="PT5M"))
    change(folder, "sensor-data-raw", lambda values: values["tuningConfig"].update(maxRowsInMemory=1000))
    change(folder, "sensor-data-raw", lambda values: values["dataSchema"]["dimensionsSpec"]["dimensions"].reverse())
    assert load_specs(folder, TOPICS, "broker:1")["sensor-data-raw"]["spec"]["ioConfig"]["taskCount"] == 2


def dimensions(values: dict[str, Any]) -> list[Any]:
    found: list[Any] = values["dataSchema"]["dimensionsSpec"]["dimensions"]
    return found


def conditions(values: dict[str, Any]) -> list[Any]:
    found: list[Any] = values["dataSchema"]["transformSpec"]["filter"]["fields"]
    return found


@pytest.mark.parametrize(
    ("name", "edit", "expected"),
    [
        ("sensor-data-aggregated", lambda values: dimensions(values).pop(3), "column max_temp is missing"),
        (
            "sensor-data-aggregated",
            lambda values: dimensions(values).append({"type": "double", "name": "max_speed"}),
            "column max_speed is not in the schema",
        ),
        ("sensor-data-raw", lambda values: dimensions(values).append("colour"), "column colour is not in the schema"),
        (
            "sensor-data-raw",
            lambda values: dimensions(values)[3].update(type="string"),
            "column seq is a string instead of a long",
        ),
        (
            "sensor-data-aggregated",
            lambda values: values["dataSchema"]["timestampSpec"].update(column="window_end"),
            'timestampSpec is {"column": "window_end", "format": "iso"} instead of {"column": "window_start", ',
        ),
        (
            "sensor-data-aggregated",
            lambda values: values["dataSchema"].update(dataSource="windows"),
            'dataSource is "windows" instead of "sensor-data-aggregated"',
        ),
        (
            "sensor-data-raw",
            lambda values: conditions(values)[4].update(pattern="."),
            'the filter lacks the condition {"type": "regex", "dimension": "temp", "pattern": "^-?[0-9]"}',
        ),
        (
            "sensor-data-raw",
            lambda values: conditions(values).append({"type": "false"}),
            'the filter has the condition {"type": "false"}, which the schema lacks',
        ),
        (
            "sensor-data-raw",
            lambda values: values["dataSchema"]["transformSpec"].pop("filter"),
            'the filter lacks the condition {"type": "regex", "dimension": "time", ',
        ),
        (
            "sensor-data-raw",
            lambda values: values["dataSchema"].pop("transformSpec"),
            'transforms is [] instead of [{"type": "expression", "name": "entity", ',
        ),
        (
            "sensor-data-raw",
            lambda values: values["ioConfig"]["inputFormat"]["valueFormat"].pop("flattenSpec"),
            'inputFormat is {"type": "kafka", "timestampColumnName": "kafka.timestamp", "valueFormat": {"type": ',
        ),
        (
            "sensor-data-rejected",
            lambda values: values["dataSchema"].update(transformSpec={"filter": {"type": "false"}}),
            'the filter has the condition {"type": "false"}, which the schema lacks',
        ),
    ],
)
def test_a_spec_that_does_not_match_its_schema_is_refused(
    folder: Path, name: str, edit: Callable[[dict[str, Any]], Any], expected: str
) -> None:
    change(folder, name, edit)
    message = refused(folder)
    assert message.startswith(f"supervisor-specs/{name}.json does not match schemas/{name}.schema.json: {expected}")
    assert message.endswith("; run `make render`.")


@pytest.mark.parametrize("text", ["{", "{}", '{"spec": []}', "[]", '{"spec": {"dataSchema": {}}}'])
def test_a_file_that_is_not_a_spec_is_refused(folder: Path, text: str) -> None:
    (folder / "sensor-data-raw.json").write_text(text)
    assert refused(folder).startswith("supervisor-specs/sensor-data-raw.json is not a Kafka supervisor spec (")


def test_a_missing_file_is_refused(folder: Path) -> None:
    (folder / "sensor-data-raw.json").unlink()
    assert refused(folder) == "supervisor-specs/sensor-data-raw.json is missing: run `make render`."


def test_a_file_of_no_datasource_is_refused(folder: Path) -> None:
    (folder / "mine.json").write_text("{}")
    assert refused(folder) == (
        "supervisor-specs/mine.json belongs to no datasource in schemas/topics.json: add it there or remove the file."
    )
