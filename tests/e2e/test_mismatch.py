"""Destructive: a part of the data is removed by hand. The next start says so, and is good once it is put back."""

import re
import shutil

import pytest
import requests
from pipeline import RAW, Pipeline, poll_until

pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize(
    ("removed", "words"),
    [
        ("pyspark", "Kafka holds the windows of another checkpoint"),
        ("kafka", "belongs to a Kafka log that was removed|read from a topic that was removed"),
        ("druid/var/druid/segments", "segments of .* are not loaded"),
    ],
)
def test_data_that_does_not_belong_together_is_named(stack: Pipeline, removed: str, words: str) -> None:
    data, aside = stack.folder / "data" / removed, stack.folder / "aside"
    if removed == "pyspark":  # no other part has it open
        data.rename(aside)
        data.mkdir()
        stack.kill_job()
    else:
        if removed.endswith("segments"):
            poll_until("Druid's task", lambda: stack.rows(RAW) > 0, seconds=120)
            stack.hand_over()
            poll_until("stored segments", lambda: stored_segments(stack), seconds=120)
        stack.started("down")
        data.rename(aside)
    if removed.endswith("segments"):  # or the historical would still have a copy
        shutil.rmtree(stack.folder / "data/druid/var/druid/segment-cache")
    up = stack.make("up", SCRIPT_DURATION="0")
    assert up.returncode != 0, up.stdout
    assert re.search(words, up.stdout), up.stdout
    assert "`make reset`" in up.stdout
    assert "Traceback" not in up.stdout
    if removed == "kafka":  # the broker writes to the new log
        stack.started("down")
    shutil.rmtree(data, ignore_errors=True)
    aside.rename(data)
    stack.started("up", SCRIPT_DURATION="0")
    if removed.endswith("segments"):  # the last of them: nothing was lost on the way
        stack.verify()


def stored_segments(stack: Pipeline) -> list[str]:
    url = f"{stack.router}/druid/coordinator/v1/metadata/datasources/{RAW}/segments"
    response = requests.get(url, timeout=30)  # 404 until the first is stored
    assert response.ok, response.text
    return list(response.json())
