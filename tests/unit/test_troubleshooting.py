"""docs/troubleshooting.md quotes messages as the programs write them."""

import ast
import re

import pytest
from repository import ROOT

PAGE = (ROOT / "docs/troubleshooting.md").read_text()
QUOTED = [fragment.strip() for quote in re.findall(r'"([^"]+)"', PAGE) for fragment in quote.split("...")]
FROM_OTHERS = {"Connection authentication failure", "container", "-pyspark-1 is unhealthy"}  # Derby, Compose
FRAGMENTS = sorted({fragment for fragment in QUOTED if fragment} - FROM_OTHERS)


def texts() -> str:
    """Every string of our programs; of an f-string the parts between its values."""
    folders = ("common", "kafka", "ledger", "local", "pyspark", "sensor-data-generator", "supervisor-specs")
    trees = [ast.parse(path.read_text()) for folder in folders for path in (ROOT / folder).rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return "\n".join(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


TEXTS = texts()


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_a_message_that_is_explained_is_one_that_is_written(fragment: str) -> None:
    assert fragment in TEXTS
