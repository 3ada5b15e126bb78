"""Destructive: parts are killed or restarted in the middle, and no reading is lost or doubled."""

import json
from datetime import UTC, datetime

import psutil
import pytest
from kafka import KafkaProducer
from pipeline import (
    AGGREGATED,
    RAW,
    WATERMARK_SECONDS,
    WINDOW_SECONDS,
    Pipeline,
    assert_every_window_is_right,
    poll_until,
)

pytestmark = pytest.mark.timeout(900)
VEHICLE = 5001
MALFORMED = [b"not json", b"", b'{"time": "2026-', b"\xff\xfe", b"[1, 2]", b'{"entity": 1, "temp": 20.0}',
             b'{"time":"2026-11-24T00:00:00.000Z","entity":999}', None]  # fmt: skip


def test_nothing_is_lost_or_doubled_by_malformed_records_a_restart_and_a_killed_job(stack: Pipeline) -> None:
    before, sent_before = stack.closed(), stack.acknowledged()
    producer = KafkaProducer(bootstrap_servers=stack.kafka)
    for value in MALFORMED:
        producer.send(RAW, key=b"1", value=value).get(timeout=30)
    producer.close()

    stack.started("down")
    assert not stack.is_healthy()
    stack.started("up", SCRIPT_DURATION="25")
    stack.kill_job()
    stack.started("run", SCRIPT_DURATION="25")  # follows the generator that is running

    after, sent = stack.closed(), stack.acknowledged() - sent_before
    assert after["rejected"] - before["rejected"] == len(MALFORMED)
    for system in ("kafka", "druid"):
        assert after[system]["rejected"] - before[system]["rejected"] == len(MALFORMED)
        assert after[system]["readings"] - before[system]["readings"] == sent
    for name in ("late", "out_of_order", "duplicates"):
        assert after[name] == before[name]
    assert_every_window_is_right(stack.kafka, stack.router)


def test_the_last_windows_close_after_a_kill_while_the_topic_is_idle_with_an_empty_partition(stack: Pipeline) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    reading = {"time": now, "entity": VEHICLE, "temp": 20.0, "humidity": 35.0, "vin": "X"}
    producer = KafkaProducer(bootstrap_servers=stack.kafka)
    for seq in range(1, 11):
        producer.send(RAW, json.dumps(reading | {"seq": seq}).encode(), partition=0).get(timeout=30)
    producer.close()
    poll_until("the readings in Druid", lambda: stack.rows(RAW, f"entity = '{VEHICLE}'") == 10, seconds=60)
    stack.kill_job()
    counted = f'SELECT SUM("count") AS n FROM "{AGGREGATED}" WHERE entity = \'{VEHICLE}\''
    poll_until(
        "their window", lambda: stack.sql(counted)[0]["n"] == 10, seconds=WINDOW_SECONDS + WATERMARK_SECONDS + 90
    )
    assert stack.verify()["in_open_windows"] == 0


def test_a_killed_server_is_restarted(stack: Pipeline) -> None:
    before = stack.processes()["historical"]
    psutil.Process(before).kill()
    poll_until("the historical restarted", lambda: stack.processes().get("historical", before) != before, 30)
    poll_until("everything healthy again", stack.is_healthy, 120)
