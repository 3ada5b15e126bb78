"""Destructive: a setting that is wrong, unknown, or doesn't match the open windows is named."""

import json
from datetime import UTC, datetime

import pytest
from kafka import KafkaProducer
from pipeline import RAW, Pipeline, poll_until

pytestmark = pytest.mark.timeout(900)


def refused(stack: Pipeline, **settings: str) -> str:
    """What a `make up` that must fail printed."""
    up = stack.make("up", **settings)
    assert up.returncode != 0, up.stdout
    assert "Traceback" not in up.stdout
    return up.stdout


def test_a_wrong_value_is_named_and_ends_the_start(stack: Pipeline) -> None:
    assert "NUM_ENTITIES (or num_entities) is '0': it must be" in refused(stack, NUM_ENTITIES="0")
    assert "WINDOW_DURATION (or window_duration) is 'soon'" in refused(stack, WINDOW_DURATION="soon")
    stack.started("up", SCRIPT_DURATION="0")


def test_an_unknown_setting_is_refused_with_the_nearest_one(stack: Pipeline) -> None:
    printed = refused(stack, NUM_ENTITES="7")
    assert "NUM_ENTITES is not a setting" in printed
    assert "NUM_ENTITIES" in printed
    assert stack.is_healthy()


def test_a_window_length_that_the_open_windows_do_not_have_is_named(stack: Pipeline) -> None:
    reading = {"time": datetime.now(UTC).isoformat(), "entity": "truck-905", "temp": 20.5, "humidity": 40}
    with KafkaProducer(bootstrap_servers=stack.kafka) as producer:
        producer.send(RAW, json.dumps(reading).encode()).get(timeout=30)
    poll_until("an open window", lambda: stack.verify()["in_open_windows"], 20)
    printed = refused(stack, WINDOW_DURATION="20 seconds")
    assert "window_duration changed from 5 to 20 seconds" in printed
    assert "`make reset`" in printed
    stack.started("up", WATERMARK_DURATION="15 seconds", SCRIPT_DURATION="0")  # which no open window depends on
    stack.started("up", SCRIPT_DURATION="0")
