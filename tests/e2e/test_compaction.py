"""Druid's segments: those of an earlier month are merged, and keep every row."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import requests
from kafka import KafkaProducer
from pipeline import RAW, Pipeline, poll_until

pytestmark = pytest.mark.timeout(900)
VEHICLE = 5002


def test_the_segments_of_an_earlier_month_are_compacted_and_keep_every_row(stack: Pipeline) -> None:
    # Segments of another test may be in the month before.
    earlier = datetime.now(UTC).replace(day=1) - timedelta(days=40)
    reading = {"time": earlier.isoformat(timespec="milliseconds").replace("+00:00", "Z"), "entity": VEHICLE,
               "temp": 20.0, "humidity": 35.0, "vin": "X"}  # fmt: skip
    this = f"entity = {VEHICLE}"

    def segments() -> int:
        published = (
            f"SELECT segment_id FROM sys.segments WHERE datasource = '{RAW}' AND is_published = 1"
            f" AND is_overshadowed = 0 AND \"start\" = '{earlier:%Y-%m}-01T00:00:00.000Z'"
        )
        return len(stack.sql(published))

    producer = KafkaProducer(bootstrap_servers=stack.kafka)
    for seq in (1, 2):
        producer.send(RAW, json.dumps(reading | {"seq": seq}).encode(), partition=0).get(timeout=30)
        poll_until("the reading in Druid", lambda seq=seq: stack.rows(RAW, this) == seq, seconds=90)
        stack.hand_over()
        poll_until("its segment", lambda seq=seq: segments() == seq, seconds=120)
    producer.close()

    def compacted() -> bool:
        # As the coordinator does by itself every half hour; it has to have seen the segments.
        assert requests.post(f"{stack.router}/druid/coordinator/v1/compaction/compact", timeout=30).ok
        return segments() == 1

    poll_until("the segments to be one", compacted, seconds=120)
    poll_until("both readings in it", lambda: stack.rows(RAW, this) == 2, seconds=60)
