"""The contract in schemas/: it is sound, and what the services know of it by themselves agrees with it."""

import json
import logging
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import create_topics
import jsonschema
import producer
import pytest
import register
import stack
import verify
from repository import ROOT, assert_one_sentence, windows_job_script
from service import contract
from windows_job.reading import Form
from windows_job.sink import MAX_RECORD_BYTES

import doctor

TOPICS = contract.topics()
every_topic = pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS)


@every_topic
def test_the_examples_of_a_schema_are_valid(topic: contract.Topic) -> None:
    validator = jsonschema.Draft202012Validator
    for example in topic.schema["examples"]:
        validator(topic.schema, format_checker=validator.FORMAT_CHECKER).validate(example)


def test_every_signal_has_a_unit_and_a_range() -> None:
    for signal in contract.signals(TOPICS["raw"].schema):
        assert signal.unit and signal.low < signal.high


@pytest.mark.parametrize("script", [producer, windows_job_script()], ids=["producer", "pyspark"])
def test_the_constants_of_the_scripts_are_the_names_of_the_topics(script: ModuleType) -> None:
    names = {contract.setting(role).lower(): topic.default_name for role, topic in TOPICS.items()}
    constants = {name: value for name, value in vars(script).items() if re.fullmatch("kafka_[a-z_]+_topic", name)}
    assert constants
    assert constants.items() <= names.items()


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


def edit_topics(old: str, new: str) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        path = folder / "topics.json"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    return edit


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda folder: (folder / "topics.json").unlink(), "schemas/topics.json is missing: add it; "),
        (lambda folder: (folder / "topics.json").write_text("[]"), "schemas/topics.json is not valid (TypeError: "),
        (edit_topics('"partitions": 2,', '"partitions": 2,,'), "schemas/topics.json is not valid JSON ("),
        (
            edit_topics('"aggregated": {', '"raw": {'),
            "schemas/topics.json is not valid JSON (the key 'raw' is there twi",
        ),
        (edit_topics('"partitions": 2,', ""), "schemas/topics.json is not valid (KeyError: 'partitions'): `make rend"),
        (edit_topics('{"timestamp": "time"}', "{}"), "schemas/topics.json is not valid (KeyError: 'timestamp'): `make"),
        (edit_topics('{"timestamp": "time"}', '"time"'), "schemas/topics.json is not valid (TypeError: "),
        (
            edit_topics('"control": {', '"markers": {'),
            "schemas/topics.json lacks control: the services need a topic of ",
        ),
        (
            lambda folder: (folder / "sensor-data-raw.schema.json").unlink(),
            "schemas/sensor-data-raw.schema.json is missing: add it; schemas/README.md says what it must contain.",
        ),
        (
            lambda folder: (folder / "sensor-data-raw.schema.json").write_text("{"),
            "schemas/sensor-data-raw.schema.json is not valid JSON (",
        ),
    ],
)
def test_a_contract_that_can_not_be_read_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, edit: Callable[[Path], object], expected: str
) -> None:
    shutil.copytree(ROOT / "schemas", tmp_path / "schemas")
    monkeypatch.setattr(contract, "SCHEMAS", tmp_path / "schemas")
    edit(tmp_path / "schemas")
    with pytest.raises(contract.BadContract) as error:
        contract.topics()
    assert str(error.value).startswith(expected)
    assert_one_sentence(str(error.value))


@pytest.mark.parametrize(
    "program", [create_topics, register, verify, doctor, stack], ids=lambda program: program.__name__
)
def test_a_program_that_can_not_read_the_contract_ends_with_the_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, program: Any
) -> None:
    caplog.set_level(logging.ERROR)
    for each in (create_topics.log, register.log, verify.log, doctor.log, stack.logs):
        monkeypatch.setattr(each, "configure", lambda *_: None)
    monkeypatch.setattr(contract, "SCHEMAS", tmp_path / "schemas")
    monkeypatch.setattr(sys, "argv", ["stack.py", "status"])
    assert program.main() == 2
    assert caplog.messages == ["schemas/topics.json is missing: add it; schemas/README.md says what it must contain."]
