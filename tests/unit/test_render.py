"""schemas/render.py: which files it writes and removes, and when it ends before; without Spark."""

import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import render
from probe_contract import TOPICS, change, copy_contract, entry
from repository import ROOT, assert_one_sentence, run_script
from service import contract


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what render.py reads and writes, with a topic more: `probe`."""
    copy_contract(tmp_path)
    specs = tmp_path / "supervisor-specs"
    shutil.copytree(ROOT / "supervisor-specs", specs, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copytree(render.KUBERNETES, tmp_path / "kubernetes/operators")
    monkeypatch.setattr(render, "KUBERNETES", tmp_path / "kubernetes/operators")
    for constant in ("INDEXER", "README"):
        source = getattr(render, constant)
        copy = tmp_path / source.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, copy)
        monkeypatch.setattr(render, constant, copy)
    monkeypatch.setattr(render, "ROOT", tmp_path)
    monkeypatch.setattr(render, "SPECS", specs)
    monkeypatch.setattr(contract, "SCHEMAS", tmp_path / "schemas")
    return tmp_path


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
OBJECTS = ("kubernetes/operators/topics.yaml", "kubernetes/operators/ingestion.yaml")


def slots() -> int:
    return int(render.INDEXER.read_text().partition("druid.worker.capacity=")[2].splitlines()[0])


def test_a_new_topic_is_rendered(folder: Path, run: Run) -> None:
    before, files = slots(), (SPEC, *OBJECTS, INDEXER, "README.md")
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
            *(f"{name} is stale: run `make render`." for name in OBJECTS),
            f"{INDEXER} is stale: run `make render`.",
        ],
    )
    assert (folder / SPEC).exists()
    assert run() == (
        0,
        [
            f"{SPEC}: removed, as it belongs to no datasource in schemas/topics.json",
            *(f"{name}: rendered" for name in OBJECTS),
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
