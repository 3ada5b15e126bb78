"""schemas/contract_check.py: what it says of a broken contract."""

from pathlib import Path

import pytest
from contract_check import check
from probe_contract import ENTRY, PROBE, RAW, TOPICS, Edit, change, copy_contract, entry, field
from repository import ROOT, assert_one_sentence
from service import contract


def test_the_contract_is_sound() -> None:
    check(ROOT / "schemas")


BROKEN_TOPICS = [
    (entry(partitions=None), ".probe lacks partitions: it must be an object with name, description, partitions, "),
    (entry(config=None), ".probe lacks config: it must be an object with name, description, partitions, config, "),
    (lambda values: values["topics"]["probe"].pop("key"), ".probe lacks key: it must be an object with name, "),
    (entry(partitions="2"), '.probe.partitions is "2": it must be a number of partitions, 1 or more.'),
    (entry(partitions=0), ".probe.partitions is 0: it must be a number of partitions, 1 or more."),
    (entry(config={"retention.ms": -1}), '.probe.config.retention.ms is -1: it must be a string, as in {"retention.'),
    (entry(datasource={}), ".probe.datasource lacks timestamp: it must be an object with timestamp, the name of "),
    (entry(datasource="time"), '.probe.datasource is "time": it must be an object with timestamp, the name of the f'),
    (
        entry(datasource={"timestamp": "tme"}),
        '.probe.datasource.timestamp is "tme": it must be a field of schemas/probe.schema.json (time, entity, kind, ',
    ),
    (
        entry(key="vehicle"),
        '.probe.key is "vehicle": it must be a field of schemas/probe.schema.json (time, entity, kind, speed),'
        ' "partition/offset", or null.',
    ),
    (entry(key=7), '.probe.key is 7: it must be the name of a field, "partition/offset", or null for '),
    (entry(partition=2), ".probe has the unknown key partition: it must be an object with name, description, "),
    (entry(name="my probe"), '.probe.name is "my probe": it must be a topic\'s name in letters, digits, hyphens, '),
    (
        entry(name="sensor-data-raw"),
        '.probe.name is "sensor-data-raw", and schemas/sensor-data-raw.schema.json belongs to the role raw already:'
        " give the topic another name.",
    ),
    (entry(name="topics"), '.probe.name is "topics", and schemas/topics.schema.json belongs to topics.schema.json '),
    (
        lambda values: values["topics"].update(Probe=ENTRY),
        ' is "Probe": it must be a role in lower-case letters and ',
    ),
    (lambda values: values["topics"].update(probe=[]), ".probe is []: it must be an object with name, description, "),
    (lambda values: values["topics"].pop("control"), " lacks control: it must be an object with the topics by role, "),
    (lambda values: values["topics"]["rejected"].pop("datasource"), ".rejected lacks datasource: it must be an object"),
    (lambda values: values.update(topics=[]), " is []: it must be an object with the topics by role, at least raw, "),
]
BROKEN_SCHEMAS = [
    (PROBE, lambda schema: schema.pop("properties"), " lacks properties: it must be a JSON Schema with title, type, "),
    (PROBE, lambda schema: schema.pop("required"), " lacks required: it must be a JSON Schema with title, type, "),
    (PROBE, lambda schema: schema.pop("examples"), " lacks examples: it must be a JSON Schema with title, type, "),
    (PROBE, lambda schema: schema.update(examples=[]), ": examples is []: it must be a list of one or more records."),
    (
        PROBE,
        lambda schema: schema.update(properties={}),
        ": properties is {}: it must be an object with the fields by",
    ),
    (PROBE, lambda schema: schema.update(type="array"), ': type is "array": it must be "object".'),
    (PROBE, field("kind", description=None), ": properties.kind lacks description: it must be an object with a descr"),
    (PROBE, field("kind", type=None), ': properties.kind is {"description": "what happened"}: it must be an object '),
    (
        PROBE,
        field("kind", type="text"),
        ': properties.kind.type is "text": it must be "string", "integer", "number", ',
    ),
    (PROBE, field("speed", minimum="0"), ": properties.speed.minimum is not valid: '0' is not of type 'number'; corr"),
    (
        PROBE,
        field("kind", type="boolean"),
        ': properties.kind.type is "boolean", but Druid\'s columns are integer, number, string: change it, or add'
        ' "x-druid": false to keep the field in Kafka only.',
    ),
    (PROBE, field("time", type="integer"), ': properties.time becomes __time: its type must be "string" (ISO 8601).'),
    (PROBE, field("time", x_seconds_ahead=10), ": properties.time lacks pattern, which the validation of records nee"),
    (
        RAW,
        field("temp", minimum=None),
        ": properties.temp lacks minimum, which the validation of records needs: add it",
    ),
    (RAW, field("humidity", maximum=None), ": properties.humidity lacks maximum, which the validation of records need"),
    (RAW, field("vin", x_unit="1"), ": properties.vin has x-unit and is of type string: make it integer or number."),
    (RAW, field("temp", type="number"), ': properties.temp is a signal that may be missing: its type must be ["numb'),
    (
        RAW,
        lambda schema: schema.update({"x-default-signals": ["humidity", "temp"]}),
        ': x-default-signals is ["humidity", "temp"]: it must be one or more of the properties with x-unit (temp, humi',
    ),
    (RAW, lambda schema: schema.pop("x-default-signals"), ": x-default-signals is []: it must be one or more of the "),
    (RAW, lambda schema: schema.update({"x-default-signals": []}), ": x-default-signals is []: it must be a list of "),
    (
        RAW,
        field("soc", type=["number", "null"], minimum=0, maximum=100, x_unit="%", description="state of charge"),
        ": not.properties has temp, humidity, speed, odometer, latitude, longitude, heading, fuel_level, tire_pressure,"
        " coolant_temp: it must have each property with x-unit (temp, humidity, speed, odometer, latitude, longitude,"
        ' heading, fuel_level, tire_pressure, coolant_temp, soc) as {"type": "null"}, so that a record without a'
        " signal is invalid.",
    ),
    (RAW, lambda schema: schema.pop("not"), ": not.properties has no signal: it must have each property with x-unit ("),
    (
        RAW,
        field("temp", x_vss="Speed"),
        ': properties.temp.x-vss is "Speed": it must be a path of COVESA VSS, as in "V',
    ),
    (
        RAW,
        lambda schema: schema["properties"].pop("time"),
        ": properties lacks time, which the windows job reads: add ",
    ),
]


@pytest.mark.parametrize(
    ("name", "edit", "expected"),
    [(TOPICS, edit, f"schemas/topics.json: topics{said}") for edit, said in BROKEN_TOPICS]
    + [(name, edit, f"schemas/{name}.json{said}") for name, edit, said in BROKEN_SCHEMAS],
)
def test_what_is_wrong_with_the_contract_is_one_sentence(tmp_path: Path, name: str, edit: Edit, expected: str) -> None:
    copy_contract(tmp_path)
    change(tmp_path, name, edit)
    with pytest.raises(contract.BadContract) as error:
        check(tmp_path / "schemas")
    assert str(error.value).startswith(expected)
    assert_one_sentence(str(error.value))
