"""schemas/render.py: what it says of a broken contract, and which files it writes and removes; without Spark."""

import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import render
from contract_check import check
from repository import ROOT, assert_one_sentence, run_script
from service import contract

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


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what render.py reads and writes, with a topic more: `probe`."""
    for path in ("schemas", "supervisor-specs"):
        shutil.copytree(ROOT / path, tmp_path / path, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for constant in ("INDEXER", "README"):
        source = getattr(render, constant)
        copy = tmp_path / source.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, copy)
        monkeypatch.setattr(render, constant, copy)
    monkeypatch.setattr(render, "ROOT", tmp_path)
    monkeypatch.setattr(render, "SPECS", tmp_path / "supervisor-specs")
    monkeypatch.setattr(contract, "SCHEMAS", tmp_path / "schemas")
    (tmp_path / "schemas/probe.schema.json").write_text(json.dumps(SCHEMA))
    change(tmp_path, TOPICS, lambda values: values["topics"].update(probe=ENTRY))
    return tmp_path


def change(folder: Path, name: str, edit: Edit) -> None:
    path = folder / f"schemas/{name}.json"
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))


Run = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Run:
    """Runs render.py in `folder`, without Spark; returns its exit code and its messages."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(render, "aggregated_schema", lambda schema, _: render._json(schema))
    monkeypatch.setattr(render.log, "configure", lambda _: None)

    def main(*arguments: str) -> tuple[int, list[str]]:
        caplog.clear()
        monkeypatch.setattr(sys, "argv", ["render.py", *arguments])
        try:
            render.main()
        except SystemExit as error:
            assert isinstance(error.code, int)
            return error.code, caplog.messages
        return 0, caplog.messages

    return main


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
def test_what_is_wrong_with_the_contract_is_one_sentence(folder: Path, name: str, edit: Edit, expected: str) -> None:
    change(folder, name, edit)
    with pytest.raises(contract.BadContract) as error:
        check(folder / "schemas")
    assert str(error.value).startswith(expected)
    assert_one_sentence(str(error.value))


def edit_text(old: str, new: str) -> Callable[[Path], object]:
    """Replace what is in topics.json."""

    def edit(folder: Path) -> None:
        path = folder / "topics.json"
        text = json.dumps(json.loads(path.read_text()))
        assert old in text
        path.write_text(text.replace(old, new))

    return edit


@pytest.mark.parametrize("arguments", [[], ["--check"], ["--check", "--quick"]], ids=" ".join)
@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (
            lambda folder: (folder / "topics.json").unlink(),
            "schemas/topics.json is missing: add it; schemas/README.md ",
        ),
        (edit_text('"time"}}', '"time"},}'), "schemas/topics.json is not valid JSON ("),
        (edit_text('"probe"', '"raw"'), "schemas/topics.json is not valid JSON (the key 'raw' is there twice): corr"),
        (
            lambda folder: change(folder.parent, TOPICS, entry(partitions=None)),
            "schemas/topics.json: topics.probe lacks partitions: it must be an object with name, ",
        ),
        (
            lambda folder: (folder / "probe.schema.json").unlink(),
            "schemas/probe.schema.json is missing: add it for the role probe (schemas/README.md says what it must"
            " contain), or correct topics.probe.name in schemas/topics.json.",
        ),
        (
            lambda folder: (folder / "probe.schema.json").write_text("{"),
            "schemas/probe.schema.json is not valid JSON ",
        ),
        (
            lambda folder: (folder / "probe.schema.json").write_text("[]"),
            "schemas/probe.schema.json is []: it must be ",
        ),
        (
            lambda folder: (folder / "mine.schema.json").write_text("{}"),
            "schemas/mine.schema.json belongs to no topic in schemas/topics.json: add the topic or remove the file.",
        ),
    ],
)
def test_a_broken_contract_ends_render_before_it_writes_anything(
    folder: Path, run: Run, edit: Callable[[Path], object], expected: str, arguments: list[str]
) -> None:
    edit(folder / "schemas")
    code, [message] = run(*arguments)
    assert code == 1
    assert message.startswith(expected)
    assert_one_sentence(message)
    assert not (folder / "supervisor-specs/probe.json").exists()


SPEC, INDEXER = "supervisor-specs/probe.json", "druid/cluster/data/indexer/runtime.properties"


def slots() -> int:
    return int(render.INDEXER.read_text().partition("druid.worker.capacity=")[2].splitlines()[0])


def test_a_new_topic_is_rendered(folder: Path, run: Run) -> None:
    before, files = slots(), (SPEC, INDEXER, "README.md")
    assert run("--check") == (1, [f"{name} is stale: run `make render`." for name in files])
    assert not (folder / SPEC).exists()
    assert run() == (0, [f"{name}: rendered" for name in files])
    assert json.loads((folder / SPEC).read_text())["spec"]["dataSchema"]["dimensionsSpec"]["dimensions"] == [
        {"type": "long", "name": "entity"},
        {"type": "string", "name": "kind"},
        {"type": "double", "name": "speed"},
    ]
    assert slots() == before + 2
    assert "| `probe` | `time` | string | when it happened |" in render.README.read_text()
    for arguments in ([], ["--check"], ["--check", "--quick"]):
        assert run(*arguments) == (0, ["all rendered files are up to date"])


def test_the_spec_of_a_removed_topic_is_removed(folder: Path, run: Run) -> None:
    before = slots()
    run()
    change(folder, TOPICS, lambda values: values["topics"].pop("probe"))
    (folder / "schemas/probe.schema.json").unlink()
    assert run("--check", "--quick") == (
        1,
        [
            f"{SPEC} belongs to no datasource in schemas/topics.json: `make render` removes it.",
            f"{INDEXER} is stale: run `make render`.",
        ],
    )
    assert (folder / SPEC).exists()
    assert run() == (
        0,
        [
            f"{SPEC}: removed, as it belongs to no datasource in schemas/topics.json",
            f"{INDEXER}: rendered",
            "README.md: rendered",
        ],
    )
    assert not (folder / SPEC).exists()
    assert slots() == before


@pytest.mark.parametrize("text", ["{", "{}", "[]"])
def test_a_file_that_is_not_a_spec_is_stale(folder: Path, run: Run, text: str) -> None:
    run()
    (folder / SPEC).write_text(text)
    said = f"{SPEC} is stale (it is not a Kafka supervisor spec): run `make render`."
    assert run("--check", "--quick") == (1, [said])


def test_what_is_checked_in_is_up_to_date() -> None:
    result = run_script([sys.executable, str(ROOT / "schemas/render.py"), "--check", "--quick"], {})
    assert result.returncode == 0, result.stderr
    assert_one_sentence(result.stderr)
    assert result.stderr.endswith("Z INFO render: all rendered files are up to date\n")
