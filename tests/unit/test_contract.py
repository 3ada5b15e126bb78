"""The contract in schemas/: it is sound, and what the services know of it by themselves agrees with it."""

import json

import jsonschema
import producer
import pytest
from repository import ROOT, windows_job_script
from service import contract
from windows_job.reading import Form
from windows_job.sink import MAX_RECORD_BYTES

TOPICS = contract.topics()
every_topic = pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS)


@every_topic
def test_a_schema_is_valid_and_so_are_its_examples(topic: contract.Topic) -> None:
    validator = jsonschema.Draft202012Validator
    validator.check_schema(topic.schema)
    assert topic.schema["examples"]
    for example in topic.schema["examples"]:
        validator(topic.schema, format_checker=validator.FORMAT_CHECKER).validate(example)


@every_topic
def test_every_property_has_a_description_and_every_signal_a_range(topic: contract.Topic) -> None:
    for name, field in topic.schema["properties"].items():
        assert field["description"], name
    for signal in contract.signals(TOPICS["raw"].schema):
        assert signal.unit and signal.low < signal.high


def test_every_schema_belongs_to_a_topic() -> None:
    files = {path.name for path in (ROOT / "schemas").glob("*.schema.json")}
    assert files == {f"{topic.default_name}.schema.json" for topic in TOPICS.values()}


def test_the_constants_of_the_scripts_are_the_names_of_the_topics() -> None:
    job = windows_job_script()
    for role, topic in TOPICS.items():
        assert getattr(job, contract.setting(role).lower()) == topic.name
    assert producer.kafka_raw_topic == TOPICS["raw"].name


def test_a_topic_is_renamed_by_its_setting_and_keeps_its_datasource() -> None:
    renamed = contract.topics({"KAFKA_RAW_TOPIC": "readings"})["raw"]
    assert (renamed.name, renamed.default_name) == ("readings", "sensor-data-raw")
    assert renamed.datasource and renamed.datasource.name == "sensor-data-raw"


def test_kafka_accepts_the_largest_rejected_record() -> None:
    assert TOPICS["rejected"].config["max.message.bytes"] == str(MAX_RECORD_BYTES)


def test_a_marker_is_as_the_contract_says() -> None:
    marker = {
        "time": "2026-11-25T10:04:00.000Z",
        **Form.of(TOPICS["raw"].schema).marker(),
        "closes": {"0": 1},
        "watermark": 0,
    }
    jsonschema.Draft202012Validator(TOPICS["control"].schema).validate(marker)


def test_the_specs_and_the_topics_have_the_same_names() -> None:
    specs = {path.stem for path in (ROOT / "supervisor-specs").glob("*.json")}
    assert specs == {topic.datasource.name for topic in TOPICS.values() if topic.datasource}
    for name in specs:
        spec = json.loads((ROOT / f"supervisor-specs/{name}.json").read_text())["spec"]
        assert spec["ioConfig"]["topic"] == spec["dataSchema"]["dataSource"] == name
