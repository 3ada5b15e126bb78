"""A stack of its own for the end-to-end tests, beside the user's: other folder, other ports, short windows.

Each file, and each test, can be run alone: the session's stack starts with the first test that needs it.
"""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from pipeline import FOLDER, PORTS, Pipeline, new_pipeline

LOG_LINES = 40  # of each service's log, shown when a test fails


@pytest.fixture(scope="session")
def pipeline() -> Iterator[Pipeline]:
    """A stack without data of which nothing has been started; stopped at the end of the session."""
    made = new_pipeline(FOLDER, PORTS)
    made.started("reset")
    shutil.rmtree(FOLDER, ignore_errors=True)  # what an interrupted test left
    try:
        yield made
    finally:
        made.make("down")


@pytest.fixture(scope="module")
def stack(pipeline: Pipeline) -> Pipeline:
    """A healthy stack on which the generator has finished a run, whatever the file before has left."""
    if not (pipeline.folder / "data/generator/generator.json").exists():
        pipeline.started("run")
    elif not pipeline.is_healthy():
        pipeline.started("up", SCRIPT_DURATION="0")
    return pipeline


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    """Attach the end of every service's log to a failure."""
    report = yield
    stacks = {each.folder for each in getattr(item, "funcargs", {}).values() if isinstance(each, Pipeline)}
    for folder in stacks if report.failed else ():
        for path in sorted((folder / "logs").glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()[-LOG_LINES:]
            report.sections.append((f"end of {path.name}", "\n".join(lines)))
    return report
