"""Destructive: a reset removes all data, and the next start is a first one, here with topics of other names."""

import pytest
from pipeline import PROGRESS, RAW, Pipeline
from service import contract

pytestmark = pytest.mark.timeout(900)


def test_reset_leaves_nothing_even_if_the_process_manager_was_killed(stack: Pipeline) -> None:
    assert (stack.folder / "data").exists()
    stack.kill_manager()
    stack.started("reset")
    assert not stack.members()
    assert not stack.folder.exists()


def test_topics_of_other_names_are_used_by_every_service(pipeline: Pipeline) -> None:
    pipeline.started("reset")
    names = {contract.setting(role): f"other-{role}" for role in contract.topics()}
    pipeline.started("run", SCRIPT_DURATION="10", MALFORMED_SHARE="0.1", **names)
    figures, run = pipeline.closed(), pipeline.generator()["run"]
    assert figures["records"] == run["acknowledged"] > 500
    assert figures["rejected"] == run["injected"]["malformed_total"] > 10
    assert pipeline.rows(RAW) == run["injected"]["readings"]
    assert not {RAW, PROGRESS} & pipeline.topics()
    pipeline.started("reset")
