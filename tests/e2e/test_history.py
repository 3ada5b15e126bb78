"""Destructive: decades of history, sent at once in any order, are queryable soon. In test_replay.py, it is a year."""

import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from kafka import KafkaProducer
from pipeline import RAW, Pipeline, poll_until

pytestmark = pytest.mark.timeout(900)
VEHICLES = range(7000, 7200)
RANDOM_READINGS = 50_000


def test_readings_of_random_times_since_2000_are_queryable_soon(stack: Pipeline) -> None:
    start, end = datetime(2000, 1, 1, tzinfo=UTC), datetime.now(UTC) - timedelta(minutes=10)
    chosen = random.Random(2000)
    times = (start + chosen.random() * (end - start) for _ in range(RANDOM_READINGS))
    send(stack, [(time, chosen.choice(VEHICLES)) for time in times])
    theirs = f"CAST(entity AS BIGINT) BETWEEN {VEHICLES.start} AND {VEHICLES.stop - 1}"
    poll_until("the readings in Druid", lambda: stack.rows(RAW, theirs) == RANDOM_READINGS, seconds=240)
    stack.hand_over()
    poll_until("their segments", lambda: stored_rows(stack) >= RANDOM_READINGS, seconds=180)
    assert stack.rows(RAW, theirs) == RANDOM_READINGS
    indexer = psutil.Process(stack.processes()["indexer"])
    assert indexer.memory_info().rss < 1280 * 2**20  # INDEXER_MEMORY, the limit of its container
    assert stack.is_healthy()


def send(stack: Pipeline, readings: Iterable[tuple[datetime, int]]) -> None:
    """Readings of (time, entity), alternately to both partitions."""
    producer = KafkaProducer(bootstrap_servers=stack.kafka, linger_ms=20)
    for seq, (time, entity) in enumerate(readings):
        reading = {"time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"), "entity": entity,
                   "temp": 20.0, "humidity": 35.0, "seq": seq}  # fmt: skip
        producer.send(RAW, json.dumps(reading).encode(), partition=seq % 2)
    producer.flush()
    producer.close()


def stored_rows(stack: Pipeline) -> int:
    """The readings in segments that the historical serves."""
    stored = f"datasource = '{RAW}' AND is_published = 1 AND is_available = 1 AND is_overshadowed = 0"
    return sum(int(row["num_rows"]) for row in stack.sql(f"SELECT num_rows FROM sys.segments WHERE {stored}"))
