"""The supervisor specs as they are loaded: compared with the contract, and refused if they differ."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka_client import KafkaClient, Properties
from registration.render import render
from registration.specs import InvalidSpec, load_specs
from service.contract import topics
from spec_topics import FOLDER, TOPICS


def test_the_specs_are_loaded_with_the_present_brokers_and_topics() -> None:
    present = topics({"KAFKA_RAW_TOPIC": "fleet"})
    specs = load_specs(FOLDER, present, KafkaClient("broker:1"))
    assert {name: each["spec"]["ioConfig"]["topic"] for name, each in specs.items()} == {
        topic.datasource.name: topic.name for topic in present.values() if topic.datasource
    }
    for name, loaded in specs.items():
        checked_in = json.loads((FOLDER / f"{name}.json").read_text())
        assert loaded["spec"]["dataSchema"] == checked_in["spec"]["dataSchema"]
        assert loaded["spec"]["ioConfig"]["consumerProperties"]["bootstrap.servers"] == "broker:1"
    assert specs["sensor-data-raw"]["spec"]["ioConfig"]["topic"] == "fleet"


def test_the_specs_get_the_client_properties_and_no_secret() -> None:
    values = {"security.protocol": "SASL_SSL", "sasl.jaas.config": "hidden"}
    specs = load_specs(FOLDER, topics(), KafkaClient("broker:1", Properties("/file", values, values)))
    assert len(specs) == 4
    for spec in specs.values():
        assert spec["spec"]["ioConfig"]["consumerProperties"] == {
            "bootstrap.servers": "broker:1",
            "security.protocol": "SASL_SSL",
            "druid.dynamic.config.provider": {
                "type": "environment",
                "variables": {"sasl.jaas.config": "KAFKA_SASL_JAAS_CONFIG"},
            },
        }


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
        load_specs(folder, TOPICS, KafkaClient("broker:1"))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_ingestion_and_tuning_may_be_edited_by_hand(folder: Path) -> None:
    change(folder, "sensor-data-raw", lambda values: values["ioConfig"].update(taskCount=2, taskDuration="PT5M"))
    change(folder, "sensor-data-raw", lambda values: values["tuningConfig"].update(maxRowsInMemory=1000))
    change(folder, "sensor-data-raw", lambda values: values["dataSchema"]["dimensionsSpec"]["dimensions"].reverse())
    assert load_specs(folder, TOPICS, KafkaClient("broker:1"))["sensor-data-raw"]["spec"]["ioConfig"]["taskCount"] == 2


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
