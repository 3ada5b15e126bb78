"""For all tests: the windows job's package is found, behind PySpark, and the files have an order."""

import sys

import pytest
from repository import ROOT

sys.path.append(str(ROOT / "pyspark"))  # at the end, or its pyspark.py would be found in place of PySpark


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that may take longest come first, so that no worker ends long after the others."""
    items.sort(key=lambda item: max((mark.args[0] for mark in item.iter_markers("timeout")), default=0), reverse=True)
