"""docs/troubleshooting.md quotes messages as the programs write them, and explains all of `make doctor`."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from repository import ROOT

PAGE = (ROOT / "docs/troubleshooting.md").read_text()
FROM_OTHERS = {"Connection authentication failure", "container ...-pyspark-1 is unhealthy"}  # Derby, Compose
QUOTES = sorted({*re.findall(r'"([^"\n]+)"', PAGE)} - FROM_OTHERS)
PROGRAMS = (
    "common", "doctor", "kafka", "ledger", "local", "pyspark", "schemas", "sensor-data-generator", "superset",
    "supervisor-specs",
)  # fmt: skip
LOCAL = ("checks", "doctor", "env_file", "errors", "folder", "java", "manager", "preflight", "settings")
# Where the sentences of `make doctor` are, but for schemas/: there each says which line to edit.
DOCTOR = [
    ROOT / "local/install.py",
    *(ROOT / f"local/local_stack/{name}.py" for name in LOCAL),
    *(ROOT / f"common/service/{name}.py" for name in ("contract", "druid", "settings")),
    *(ROOT / "doctor/diagnosis").glob("*.py"),
    ROOT / "common/kafka_client/access.py",
]


def text(node: ast.AST) -> str | None:
    """A string; of an f-string the parts, with {} for its values."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def strings(tree: ast.AST) -> Iterator[str]:
    """The strings of a program but docstrings, what is printed, and those that get a name: they are parts of others."""
    for node in ast.iter_child_nodes(tree):
        if (found := text(node)) is not None:
            yield found
        elif not (is_named(node) or is_printed(node) or (isinstance(node, ast.Expr) and text(node.value))):
            yield from strings(node)


def is_named(node: ast.AST) -> bool:
    if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name | ast.Tuple):
        return False
    return isinstance(node.value, ast.Constant | ast.JoinedStr | ast.IfExp | ast.Tuple)


def is_printed(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"


def sentences(path: Path) -> list[str]:
    """The texts that end as a sentence, or with a remedy that has a name."""
    return [
        found for found in strings(ast.parse(path.read_text())) if re.search(r"^\S.*(\.|\. \{\})$", found, re.DOTALL)
    ]


def quoted_in(quote: str, message: str) -> bool:
    return bool(re.search(".*".join(re.escape(part.strip()) for part in quote.split("...")), message, re.DOTALL))


TREES = [ast.parse(path.read_text()) for folder in PROGRAMS for path in (ROOT / folder).rglob("*.py")]
MESSAGES = {found for tree in TREES for node in ast.walk(tree) if (found := text(node))}
SENTENCES = sorted({sentence for path in DOCTOR for sentence in sentences(path)})


@pytest.mark.parametrize("quote", QUOTES)
def test_a_message_that_is_explained_is_one_that_is_written(quote: str) -> None:
    assert any(quoted_in(quote, message) for message in MESSAGES)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_sentence_of_make_doctor_is_explained(sentence: str) -> None:
    assert any(quoted_in(quote, sentence) for quote in QUOTES), "docs/troubleshooting.md must quote and explain it"


def test_the_sentences_are_found_wherever_they_are_made() -> None:
    """One of each way: raised, returned, collected in a list or a dict, and with a remedy at the end."""
    for part in (
        "it must be a port",
        "was killed or doesn't answer",
        "was stopped by a signal",
        "has none of the",
        "does not answer: {}. If it has",
        "Kafka is not reachable",
        "Java 17 or 21 is needed, and",
    ):
        assert any(part in sentence for sentence in SENTENCES), part
