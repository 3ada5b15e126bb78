"""Destructive: days of readings sent at once, then live ones, give the windows of a run that began days ago."""

import json
from collections import defaultdict

import pytest
from pipeline import RAW, SETTINGS, Pipeline, assert_every_window_is_right
from recompute import messages, millis

pytestmark = pytest.mark.timeout(900)
DAYS, VEHICLES, INTERVAL = 2, 3, 5  # seconds
HISTORY = {
    "HISTORY": f"{DAYS} days",
    "NUM_ENTITIES": str(VEHICLES),
    "SENSOR_INTERVAL": str(INTERVAL),
    "SCRIPT_DURATION": "20",
    # Many batches: of two partitions that are not read at the same speed, one would make the other late.
    "MAX_OFFSETS_PER_TRIGGER": "5000",
}
READINGS = DAYS * 86_400 // INTERVAL  # of each vehicle


def test_a_history_and_the_live_readings_after_it_are_all_in_their_windows(pipeline: Pipeline) -> None:
    pipeline.started("reset")
    pipeline.started("run", **HISTORY)
    figures = pipeline.closed()
    assert figures["records"] == figures["in_windows"] == pipeline.acknowledged() > VEHICLES * READINGS
    assert (figures["late"], figures["rejected"], figures["duplicates"]) == (0, 0, 0)
    assert pipeline.generator()["run"]["elapsed_seconds"] < DAYS * 86_400 / 100  # not at the speed of its own clock
    assert_no_interval_is_missing(pipeline)
    assert_every_window_is_right(pipeline.kafka, pipeline.router)


def test_another_start_fills_what_is_missing_since_the_last_one(pipeline: Pipeline) -> None:
    before = pipeline.acknowledged()
    pipeline.started("run", **HISTORY)
    figures = pipeline.closed()
    assert figures["records"] == figures["in_windows"] == pipeline.acknowledged()
    assert before < pipeline.acknowledged() < before + VEHICLES * READINGS / 10
    assert (figures["late"], figures["duplicates"]) == (0, 0)
    assert_no_interval_is_missing(pipeline)
    assert_every_window_is_right(pipeline.kafka, pipeline.router)


def assert_no_interval_is_missing(pipeline: Pipeline) -> None:
    """Each vehicle has one reading in each interval, numbered from 1 on, and its live ones are in its own partition."""
    assert int(SETTINGS["NUM_ENTITIES"]) > VEHICLES
    intervals, seqs = defaultdict[int, list[int]](list), defaultdict[int, list[int]](list)
    partitions = set()
    for message in sorted(messages(pipeline.kafka, RAW), key=lambda message: message.timestamp):
        reading = json.loads(message.value)
        # A live reading comes some milliseconds after the multiple of the interval, or a millisecond before it.
        intervals[reading["entity"]].append((millis(reading["time"]) + 100) // (INTERVAL * 1000))
        seqs[reading["entity"]].append(reading["seq"])
        partitions.add(message.partition)
    assert len(intervals) == VEHICLES
    assert partitions == {0, 1}
    for entity, found in intervals.items():
        assert found == list(range(found[0], found[0] + len(found))), entity
        assert seqs[entity] == list(range(1, len(found) + 1)), entity
