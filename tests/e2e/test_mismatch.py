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
    poll_until("stored segments", lambda: stored_segments(stack), seconds=120)
    data, aside = stack.folder / "data", stack.folder / "aside"
    stack.started("down")
    (data / "kafka").rename(aside)
    assert_refused(stack, "belongs to a Kafka log that was removed|read from a topic that was removed")

    stack.started("down")
    shutil.rmtree(data / "kafka")
    aside.rename(data / "kafka")
    segments = data / "druid/var/druid/segments"
    segments.rename(aside)
    shutil.rmtree(data / "druid/var/druid/segment-cache")  # where the historical has a copy
    assert_refused(stack, "segments of .* are not loaded")

    shutil.rmtree(segments, ignore_errors=True)
    aside.rename(segments)
    stack.started("up", SCRIPT_DURATION="0")
    stack.verify()


def assert_refused(stack: Pipeline, words: str) -> None:
    """`make up` fails, and names the cause and the remedy."""
    up = stack.make("up", SCRIPT_DURATION="0")
    assert up.returncode != 0, up.stdout
    assert re.search(words, up.stdout), up.stdout
    assert "`make reset`" in up.stdout
    assert "Traceback" not in up.stdout


def stored_segments(stack: Pipeline) -> list[str]:
    url = f"{stack.router}/druid/coordinator/v1/metadata/datasources/{RAW}/segments"
    response = requests.get(url, timeout=30)  # 404 until the first is stored
    assert response.ok, response.text
    return list(response.json())
