"""Whatever other clients send: it is counted like anything else, or rejected with the reason, and nothing stops."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import recompute
from kafka import KafkaProducer
from pipeline import (
    AGGREGATED,
    CONTROL,
    LATE,
    PROGRESS,
    RAW,
    REJECTED,
    WATERMARK_SECONDS,
    WINDOW_SECONDS,
    Pipeline,
    poll_until,
)

pytestmark = pytest.mark.timeout(900)


def reading(entity: Any, **fields: Any) -> bytes:
    """A reading of this moment."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": now, "entity": entity, "temp": 20.5, "humidity": 40.0, **fields}).encode()


@contextmanager
def producer(stack: Pipeline, **options: Any) -> Iterator[KafkaProducer]:
    made = KafkaProducer(bootstrap_servers=stack.kafka, **options)
    try:
        yield made
    finally:
        made.close()


def send(stack: Pipeline, *values: bytes, topic: str = RAW) -> None:
    with producer(stack) as client:
        for value in values:
            client.send(topic, value).get(timeout=30)


def in_windows(stack: Pipeline, entity: str) -> int:
    """The readings of a vehicle in Druid's windows."""
    [row] = stack.sql(f'SELECT SUM("count") AS n FROM "{AGGREGATED}" WHERE entity = \'{entity}\'')
    return int(row["n"] or 0)


def in_druid(stack: Pipeline, entity: str) -> int:
    return stack.rows(RAW, f"entity = '{entity}'")


NUMBERS = [9120, "9120", 9120.0, 9.12e3]  # above LAST_VEHICLE
OTHERS = ["truck-904", 3_000_000_000, 356307042441013, -5, "Ж" * 256, 'a"b,c\\d', " 9120"]
NOW = datetime.now(UTC)
TIMES = [
    NOW.isoformat(),  # as Python writes it, with microseconds and +00:00
    NOW.strftime("%Y-%m-%dT%H:%M:%S+0000"),
    NOW.astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat(),
    NOW.astimezone(timezone(timedelta(hours=-5))).strftime("%Y-%m-%dT%H:%M:%S-05"),
]


@pytest.fixture(scope="module")
def counted(stack: Pipeline) -> dict[str, int]:
    """What the ledger counts more of, when all of these records have been sent and their windows are closed."""
    before = stack.closed()
    with producer(stack, transactional_id="somebody") as client:
        client.init_transactions()
        client.begin_transaction()
        for _ in range(3):
            client.send(RAW, reading("aborted"))
        client.flush()
        client.abort_transaction()
        client.begin_transaction()
        for _ in range(2):
            client.send(RAW, reading("committed"))
        client.commit_transaction()
    send(
        stack,
        reading("shadow", **{"kafka.timestamp": 0, "kafka.topic": "another", "kafka.key": 1}),
        reading("of 2099", time="2099-01-01T00:00:00Z", **{"kafka.timestamp": 9_999_999_999_999}),
        reading("", time="2026-11-25T10:00:00", temp=99),
        *(reading(entity) for entity in (*NUMBERS, *OTHERS)),
        *(reading("times", time=time) for time in TIMES),
    )
    after = stack.closed()
    return {name: after[name] - before[name] for name in ("records", "rejected", "late")}


def test_only_what_a_transaction_commits_counts(stack: Pipeline, counted: dict[str, int]) -> None:
    assert [in_windows(stack, entity) for entity in ("aborted", "committed")] == [0, 2]
    assert [in_druid(stack, entity) for entity in ("aborted", "committed")] == [0, 2]


def test_a_payload_has_no_say_in_kafkas_own_columns(stack: Pipeline, counted: dict[str, int]) -> None:
    assert counted["rejected"] == 2  # the one of 2099, and the one with all faults
    assert [in_druid(stack, entity) for entity in ("shadow", "of 2099")] == [1, 0]
    assert in_windows(stack, "shadow") == 1


def test_an_entity_is_a_text_or_a_whole_number(stack: Pipeline, counted: dict[str, int]) -> None:
    raw, windows = (
        {row["entity"]: row["n"] for row in stack.sql(query)}
        for query in (
            f'SELECT entity, COUNT(*) AS n FROM "{RAW}" GROUP BY 1',
            f'SELECT entity, SUM("count") AS n FROM "{AGGREGATED}" GROUP BY 1',
        )
    )
    for entity, number in ({"9120": len(NUMBERS)} | {str(entity): 1 for entity in OTHERS}).items():
        assert (raw.get(entity), windows.get(entity)) == (number, number), entity


def test_a_time_may_have_any_offset(stack: Pipeline, counted: dict[str, int]) -> None:
    assert in_druid(stack, "times") == len(TIMES)
    assert in_windows(stack, "times") + counted["late"] == len(TIMES)
    [seen] = stack.sql(f"SELECT MIN(__time) AS low, MAX(__time) AS high FROM \"{RAW}\" WHERE entity = 'times'")
    for moment in (seen["low"], seen["high"]):
        assert abs(datetime.fromisoformat(moment) - NOW) < timedelta(seconds=1)


def test_a_rejected_record_tells_all_that_is_wrong(stack: Pipeline, counted: dict[str, int]) -> None:
    reasons = {row["reason"] for row in stack.sql(f'SELECT reason FROM "{REJECTED}" GROUP BY 1')}
    assert (
        "time has no zone: Z or an offset such as +02:00 must follow it; entity is empty;"
        " temp is not in the range -50 to 60 °C"
    ) in reasons


def test_an_open_transaction_holds_its_readers_up_until_it_ends(stack: Pipeline) -> None:
    with producer(stack, transactional_id="slow") as client:
        client.init_transactions()
        client.begin_transaction()
        client.send(RAW, reading("slow"), partition=0).get(timeout=30)
        send(stack, reading("behind it"))
        time.sleep(WINDOW_SECONDS + WATERMARK_SECONDS + 15)
        # Its reading may be on time, so the windows wait for it.
        assert [in_windows(stack, entity) for entity in ("slow", "behind it")] == [0, 0]
        client.commit_transaction()
    stack.closed()
    assert [in_windows(stack, entity) for entity in ("slow", "behind it")] == [1, 1]


def test_what_others_send_to_the_jobs_own_topics_is_passed_over(stack: Pipeline) -> None:
    for topic in (CONTROL, PROGRESS):
        send(stack, b"hello", reading("lost"), b'{"batch_id": "x"}', topic=topic)
    stack.kill_job()
    poll_until("the job restarted", stack.is_healthy, 120)
    send(stack, reading("after hello"))
    stack.closed()
    assert in_windows(stack, "after hello") == 1
    assert in_windows(stack, "lost") == 0


def test_while_only_invalid_and_late_records_come_the_windows_close_and_late_readings_are_kept_once(
    stack: Pipeline,
) -> None:
    before = stack.closed()
    send(stack, reading("last"))
    late = reading("late", time="2026-01-01T10:00:07.5+01:00", seq=3)
    sent = 0
    while not in_windows(stack, "last"):
        assert sent < 60, "the window of the last reading on time stays open"
        send(stack, b"hello", late)
        sent += 1
        if sent == 5:
            stack.kill_job()
        time.sleep(2)
    poll_until("the late readings", lambda: stack.rows(LATE, "entity = 'late'") == sent, 120)
    after = stack.closed()
    assert (after["late"] - before["late"], after["rejected"] - before["rejected"]) == (sent, sent)
    assert in_windows(stack, "late") == 0
    records = [record for record in recompute.records(stack.kafka, LATE) if record["entity"] == "late"]
    assert len({(record["partition"], record["offset"]) for record in records}) == len(records) == sent
    for record in records:
        assert record["time"] == "2026-01-01T09:00:07.500Z"
        assert record["window_start"] == "2026-01-01T09:00:05.000Z"
        assert record["window_end"] == "2026-01-01T09:00:10.000Z"
        assert record["watermark"] > record["window_end"]
        assert record["seq"] == 3
