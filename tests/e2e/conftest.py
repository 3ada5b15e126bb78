"""A stack of its own for the end-to-end tests, beside the user's: other folder, other ports, short windows.

Each file, and each test, can be run alone: the session's stack starts with the first test that needs it.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pipeline import PORTS, SETTINGS, Pipeline
from repository import ROOT

FOLDER = ROOT / ".local/e2e"
LOG_LINES = 40  # of each service's log, shown when a test fails


@pytest.fixture(scope="session")
def pipeline() -> Iterator[Pipeline]:
    """A stack without data of which nothing has been started; stopped at the end of the session."""
    for program in ("java", "make"):
        if not shutil.which(program):
            pytest.skip(f"the stack without Docker needs {program}, which is not on the PATH")
    environment = {
        **os.environ,
        **{name: str(port) for name, port in PORTS.items()},
        **SETTINGS,
        "STACK_DIR": str(FOLDER),
    }
    router = f"http://127.0.0.1:{PORTS['ROUTER_PORT']}"
    made = Pipeline(FOLDER, environment, f"127.0.0.1:{PORTS['KAFKA_PORT']}", router)
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
    if report.failed and {"pipeline", "stack"} & set(getattr(item, "fixturenames", ())):
        for path in sorted(Path(FOLDER, "logs").glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()[-LOG_LINES:]
            report.sections.append((f"end of {path.name}", "\n".join(lines)))
    return report
