"""Destructive: a part of the data is removed by hand. The next start says so, and is good once it is put back."""

import re
import shutil

import pytest
import requests
from pipeline import RAW, Pipeline, poll_until

pytestmark = pytest.mark.timeout(900)


def test_a_checkpoint_that_was_removed_is_named(stack: Pipeline) -> None:
    data, aside = stack.folder / "data/pyspark", stack.folder / "aside"
    data.rename(aside)
    data.mkdir()
    stack.kill_job()
    assert_refused(stack, "Kafka holds the windows of another checkpoint")
    shutil.rmtree(data)
    aside.rename(data)
    stack.started("up", SCRIPT_DURATION="0")


def test_a_kafka_log_and_segments_that_were_removed_are_named(stack: Pipeline) -> None:
    poll_until("Druid's task", lambda: stack.rows(RAW) > 0, seconds=120)
    stack.hand_over()
    poll_until("a segment that only the historical has", lambda: handed_over(stack), seconds=120)
    data, aside = stack.folder / "data", stack.folder / "aside"
    stack.manager().stopProcess("historical")
    segments = data / "druid/var/druid/segments"
    segments.rename(aside)
    shutil.rmtree(data / "druid/var/druid/segment-cache")  # where the historical has a copy
    assert_refused(stack, "segments of .* are not loaded")

    stack.started("down")
    shutil.rmtree(segments, ignore_errors=True)
    aside.rename(segments)
    (data / "kafka").rename(aside)
    assert_refused(stack, "belongs to a Kafka log that was removed|read from a topic that was removed")
    poll_until("no task that reads the new topic", lambda: is_suspended(stack), seconds=120)

    stack.started("down")
    shutil.rmtree(data / "kafka")
    aside.rename(data / "kafka")
    stack.started("up", SCRIPT_DURATION="0")
    stack.verify()
    assert not is_suspended(stack)


def assert_refused(stack: Pipeline, words: str) -> None:
    """`make up` fails, and names the cause and the remedy."""
    up = stack.make("up", SCRIPT_DURATION="0")
    assert up.returncode != 0, up.stdout
    assert re.search(words, up.stdout), up.stdout
    assert "`make reset`" in up.stdout
    assert "Traceback" not in up.stdout


def handed_over(stack: Pipeline) -> set[str]:
    """The segments that no task has any more. A task that has not handed over goes on with its own copy."""
    served = stack.sql(
        "SELECT segment_id, server_type = 'historical' AS stored"
        f" FROM sys.server_segments JOIN sys.servers USING (server) WHERE segment_id LIKE '{RAW}_%'"
    )
    held = {row["segment_id"] for row in served if not row["stored"]}
    return {row["segment_id"] for row in served if row["stored"]} - held


def is_suspended(stack: Pipeline) -> bool:
    response = requests.get(f"{stack.router}/druid/indexer/v1/supervisor/{RAW}/status", timeout=30)
    assert response.ok, response.text
    return bool(response.json()["payload"]["suspended"])
