"""The ledger against the generator and other clients: it finds what was sent, figure by figure."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from pipeline import AGGREGATED, LATE, RAW, REJECTED, Pipeline, assert_every_window_is_right, poll_until
from repository import ROOT

pytestmark = pytest.mark.timeout(900)

# The reason that each kind of the generator's malformed records is rejected for.
REASONS = {
    "not a JSON object with the fields of a reading": ["truncated", "not_json", "nan_temp"],
    "time is missing": ["no_time"],
    "time is before 2000": ["old_time"],
    "time is more than 10 seconds ahead of the broker's clock": ["future_time"],
    "entity is missing": ["no_entity"],
    "temp is not a number": ["text_temp"],
    "temp is not in the range -50 to 60 °C": ["temp_out_of_range"],
    "humidity is not in the range 0 to 100 %": ["humidity_out_of_range"],
}
REMOVED = ["raw", "rejected", "late", "aggregated"]
FAULTS = {"LATE_SHARE": "0.02", "DUPLICATE_SHARE": "0.02", "OUT_OF_ORDER_SHARE": "0.05", "MALFORMED_SHARE": "0.01"}


def reasons(stack: Pipeline) -> dict[str, int]:
    return {row["reason"]: row["n"] for row in stack.sql(f'SELECT reason, COUNT(*) n FROM "{REJECTED}" GROUP BY 1')}


def test_the_ledger_finds_what_the_generator_injected(stack: Pipeline) -> None:
    before = stack.closed()
    reasons_before = reasons(stack) if before["druid"]["rejected"] else {}
    stack.started("run", SCRIPT_DURATION="60", LATE_BY="30", NUM_ENTITIES="100", **FAULTS)
    after = stack.closed()
    injected = stack.generator()["run"]["injected"]
    assert injected["readings"] > 10_000
    assert injected["cut_short"] == 0

    def found(name: str) -> int:
        return int(after[name] - before[name])

    assert {
        "readings": after["kafka"]["readings"] - before["kafka"]["readings"],
        "late": found("late"),
        "out_of_order": found("out_of_order"),
        "duplicates": found("duplicates"),
        "gaps": found("gaps"),
        "malformed_total": found("rejected"),
    } == {name: injected[name] for name in injected if name not in ("malformed", "cut_short")}
    assert after["kafka"]["late"] - before["kafka"]["late"] == injected["late"]
    assert after["druid"]["late"] == after["kafka"]["late"]
    assert after["acknowledged"] == stack.acknowledged()
    assert len(after["runs"]) == len(before["runs"]) + 1
    assert after["runs"][-1]["acknowledged"] == stack.generator()["run"]["acknowledged"]
    assert found("in_windows") == injected["readings"] - injected["late"]
    reasons_after = reasons(stack)
    for reason, kinds in REASONS.items():
        number = reasons_after[reason] - reasons_before.get(reason, 0)
        assert number == sum(injected["malformed"][kind] for kind in kinds), reason
    assert_every_window_is_right(stack.kafka, stack.router)


def test_the_queries_of_the_documentation_are_answered(stack: Pipeline) -> None:
    """With the faults that have been injected by now, most of them have rows."""
    queries = [query for page in ("README.md", "docs/queries.md") for query in sql_of(page)]
    assert len(queries) > 15
    empty = [query for query in queries if not stack.sql(query)]
    # Stored segments come after an hour, and no vehicle has been silent.
    assert all(re.search("sys.segments|last_seen|expected", query) for query in empty), empty


def sql_of(page: str) -> list[str]:
    return re.findall(r"^```sql\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def test_an_open_transaction_is_named_and_holds_nobody_up(stack: Pipeline) -> None:
    before = stack.closed()
    time = datetime.now(UTC).isoformat()
    reading = json.dumps({"time": time, "entity": "slow", "temp": 20.5, "humidity": 40}).encode()
    producer = KafkaProducer(bootstrap_servers=stack.kafka, transactional_id="test-ledger")
    try:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(RAW, reading, partition=0).get(timeout=30)
        figures = stack.verify(wait=30)
        assert (figures["records"], figures["held_back"]) == (before["records"], 1)
        stack.started("up", SCRIPT_DURATION="1")  # the generator starts
        poll_until("the run", lambda: stack.generator()["state"] == "finished", 30)
        producer.commit_transaction()
    finally:
        producer.close()
    after = stack.closed()
    sent = after["acknowledged"] - before["acknowledged"]
    assert (after["records"], after["held_back"]) == (before["records"] + sent + 1, 0)


def test_it_closes_while_a_fleet_sends(stack: Pipeline) -> None:
    stack.started("up", SCRIPT_DURATION="30")
    start = stack.verify(wait=60)
    figures = stack.verify(wait=60)
    assert stack.generator()["state"] == "sending"
    assert figures["records"] > start["records"]
    assert figures["in_open_windows"] > 0
    poll_until("the end of the run", lambda: stack.generator()["state"] == "finished", 90)


@pytest.fixture(scope="module")
def with_gaps(stack: Pipeline) -> Iterator[Pipeline]:
    """A stack whose topics lose records. The files behind this one recompute what Kafka holds: all is removed again."""
    yield stack
    stack.started("reset")


def test_it_says_what_retention_has_removed(with_gaps: Pipeline) -> None:
    stack = with_gaps
    stack.started("run", SCRIPT_DURATION="30", LATE_BY="20", **FAULTS)
    before = stack.closed()
    assert before["rejected"] and before["late"]
    with KafkaAdminClient(bootstrap_servers=stack.kafka) as admin:
        places = [TopicPartition(REJECTED, 0), TopicPartition(LATE, 0)]
        places += [TopicPartition(AGGREGATED, partition) for partition in range(2)]
        admin.delete_records(dict.fromkeys(places, -1))
    verified = stack.verify()  # what was verified before stays verified
    assert verified["verified_before"] == before["records"]
    assert verified["kafka"] == before["kafka"]
    after = stack.verify(removed=["rejected", "late", "aggregated"], FULL="1")
    for name in ("records", "in_open_windows", "late", "rejected", "rejected_by_reason"):
        assert after[name] == before[name], name
    assert after["in_removed_windows"] == before["in_windows"]
    assert after["kafka"]["rejected"] == after["kafka"]["late"] == after["kafka"]["windows"] == 0
    with KafkaAdminClient(bootstrap_servers=stack.kafka) as admin:
        admin.delete_records({TopicPartition(RAW, 0): -1})
    assert stack.verify(removed=REMOVED, FULL="1")["records"] < before["records"]


def test_druid_goes_on_behind_what_retention_has_removed_unread(with_gaps: Pipeline) -> None:
    stack = with_gaps
    supervisor = f"{stack.router}/druid/indexer/v1/supervisor/{RAW}"
    before = read_by_the_job(stack)

    def send(number: int, vehicle: str) -> None:
        reading = {"time": datetime.now(UTC).isoformat(), "entity": vehicle, "temp": 20.5, "humidity": 40}
        producer = KafkaProducer(bootstrap_servers=stack.kafka)
        for partition in range(2):
            for _ in range(number):
                producer.send(RAW, json.dumps(reading).encode(), partition=partition).get(timeout=30)
        producer.close()

    assert requests.post(f"{supervisor}/suspend", timeout=30).ok
    poll_until("no task of Druid's", lambda: not tasks(stack), seconds=120)
    send(10, "unread")
    poll_until("the readings in the windows job", lambda: read_by_the_job(stack) == before + 20, seconds=60)
    with KafkaAdminClient(bootstrap_servers=stack.kafka) as admin:
        admin.delete_records({TopicPartition(RAW, partition): -1 for partition in range(2)})
    assert requests.post(f"{supervisor}/resume", timeout=30).ok
    send(1, "read")
    poll_until("the readings after that", lambda: stack.rows(RAW, "entity = 'read'") == 2, seconds=120)
    assert stack.rows(RAW, "entity = 'unread'") == 0
    stack.verify(removed=REMOVED, FULL="1")


def read_by_the_job(stack: Pipeline) -> int:
    """The number of offsets of the raw topic."""
    return sum(stack.job()["offsets"][RAW].values())


def tasks(stack: Pipeline) -> list[Any]:
    """The tasks of Druid's that read the raw topic or store what they have read."""
    url = f"{stack.router}/druid/indexer/v1/tasks?datasource={RAW}&state="
    return [
        task for state in ("running", "pending", "waiting") for task in requests.get(url + state, timeout=30).json()
    ]
