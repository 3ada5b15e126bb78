"""For all tests: the user's stack doesn't count, the windows job's package is found, and the files have an order."""

import importlib
import os
import sys
import tempfile

import pytest
from repository import ROOT

sys.path.append(str(ROOT / "pyspark"))  # at the end, or its pyspark.py would be found in place of PySpark


def pytest_configure() -> None:
    """Tests neither find the developer's own stack nor take settings from the shell."""
    os.environ["STACK_DIR"] = f"{tempfile.gettempdir()}/sensor-data-tests-{os.getpid()}"
    # Only now: local_stack reads STACK_DIR when it is imported.
    for name in importlib.import_module("shell").SETTINGS:
        os.environ.pop(name, None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that may take longest come first, so that no worker ends long after the others."""
    items.sort(key=lambda item: max((mark.args[0] for mark in item.iter_markers("timeout")), default=0), reverse=True)
