"""The doctor on a running stack: each cause is staged on real parts, is named, and is gone after its remedy."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest
import requests
from clients import reading, send
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from pipeline import LATE, PORTS, RAW, REJECTED, Pipeline, poll_until
from repository import ROOT
from service import contract

pytestmark = pytest.mark.timeout(600)
CONTROL = "doctor-control"  # a control topic with too many partitions


def findings(stack: Pipeline, **settings: str) -> list[str]:
    """What the doctor finds."""
    state_file = stack.folder / "data/pyspark/windows-job.json"
    addresses = {"KAFKA_BOOTSTRAP_SERVERS": stack.kafka, "DRUID_URL": stack.router}
    done = subprocess.run(
        [sys.executable, str(ROOT / "doctor/doctor.py")],
        env=os.environ | addresses | {"WINDOWS_JOB_STATE_FILE": str(state_file)} | settings,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert done.stderr == ""
    if done.returncode == 0:
        assert len(lines) == 1 and lines[0].startswith("Nothing was found. Checked: Kafka, "), lines
        return []
    assert done.returncode == 1
    return lines


def settled(stack: Pipeline, expected: Callable[[list[str]], bool]) -> list[str]:
    """What the doctor finds once what lags for a moment, such as a Druid task that starts, has caught up."""
    end = time.monotonic() + 120
    while not expected(found := findings(stack)) and time.monotonic() < end:
        time.sleep(1)
    return found


def assert_found(found: list[str], *expected: str) -> None:
    """One finding for each expected beginning, and no other."""
    other = [finding for finding in found if not finding.startswith(expected)]
    missing = [words for words in expected if not any(finding.startswith(words) for finding in found)]
    assert not other, other
    assert not missing, missing
    assert len(found) == len(expected)


@contextmanager
def stopped(stack: Pipeline, *services: str) -> Iterator[None]:
    """The processes of these services accept connections and do nothing."""
    processes = [psutil.Process(stack.processes()[name]) for name in services]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)
    poll_until("a healthy stack", stack.is_healthy, 120)


def test_nothing_is_found_on_a_healthy_stack(stack: Pipeline) -> None:
    assert settled(stack, lambda found: not found) == []


def test_many_rejected_records_are_named_with_their_reason(stack: Pipeline) -> None:
    state_file = stack.folder / "data/pyspark/windows-job.json"

    def records() -> int:
        return int((json.loads(state_file.read_text())["totals"] or {}).get("records", 0))

    before = records()
    invalid = before // 4 + 100
    valid = 4 * (before + invalid)
    send(stack.kafka, RAW, "none", [("", b'{"entity": 9001}')] * invalid)
    try:
        poll_until("the invalid records", lambda: records() >= before + invalid, 60)
        found = settled(stack, lambda found: len(found) == 1)
        assert len(found) == 1, found
        assert 'are rejected. The most frequent reasons of the newest: "time is missing; ' in found[0]
    finally:  # the other tests find the share of rejected records as it was
        send(stack.kafka, RAW, "lz4", [("9001", reading(9001))] * valid)
        poll_until("the valid records", lambda: records() >= before + invalid + valid, 60)
    assert settled(stack, lambda found: not found) == []


def test_what_hangs_is_named(stack: Pipeline) -> None:
    with stopped(stack, "kafka0", "router"):
        assert_found(
            findings(stack),
            f"Kafka at {stack.kafka} accepts the connection but has not answered for 5 s: it hangs",
            f"Druid's router at {stack.router} accepts the connection but does not answer: no answer within 5 s.",
        )
    with stopped(stack, "historical"):
        assert_found(
            findings(stack),
            f"Druid's historical at 127.0.0.1:{PORTS['HISTORICAL_PORT']} does not answer: no answer within 5 s.",
        )
    with stopped(stack, "coordinator"):
        # The router's answer, once ZooKeeper has noticed that the coordinator hangs
        assert_found(findings(stack), "Druid's coordinator, which runs the supervisors, does not answer: ")
    with stopped(stack, "broker"):
        assert_found(findings(stack), "Druid's broker does not answer queries: no answer within 5 s.")


def test_what_differs_in_kafka_druid_and_the_job_is_named_until_make_up_corrects_it(stack: Pipeline) -> None:
    up = stack.make("up", WINDOW_DURATION="soon", SCRIPT_DURATION="0")  # no reading comes behind the open transaction
    assert up.returncode != 0, up.stdout
    # They would put right what is changed now.
    poll_until("the one-shots' end", lambda: not {"topics", "supervisor-specs"} & stack.processes().keys(), 60)
    for name, change in ((RAW, "suspend"), (LATE, "terminate")):
        assert requests.post(f"{stack.router}/druid/indexer/v1/supervisor/{name}/{change}", timeout=30).ok
    producer = KafkaProducer(bootstrap_servers=stack.kafka, transactional_id="test-doctor")
    with KafkaAdminClient(bootstrap_servers=stack.kafka) as admin:
        try:
            changed = ConfigResource(ConfigResourceType.TOPIC, REJECTED, {"max.message.bytes": "2097152"})
            admin.alter_configs([changed])
            configs = contract.topics()["control"].needed
            admin.create_topics({CONTROL: {"num_partitions": 1, "replication_factor": 1, "configs": configs}})
            admin.wait_for_topics([CONTROL])
            admin.create_partitions({CONTROL: 2})
            producer.init_transactions()
            producer.begin_transaction()
            producer.send(RAW, reading(9001), partition=0).get(timeout=30)
            found = findings(stack, KAFKA_CONTROL_TOPIC=CONTROL, KAFKA_RUNS_TOPIC="doctor-runs")
        finally:
            producer.close()
            admin.delete_topics([CONTROL])
    assert_found(
        found,
        "Topics are missing in Kafka: doctor-runs.",
        f"Topic {REJECTED} has the settings max.message.bytes=2097152 instead of max.message.bytes=4194304: ",
        f"Topic {CONTROL} has 2 partitions instead of 1, but its records are one sequence.",
        "An open transaction of the producer with the transactional id test-doctor hides 1 offset of partition 0 of",
        f"Druid has no supervisor for {LATE}: ",
        f"Supervisor {RAW} is suspended: ",
        "The windows job has refused to start at ",
    )
    [refused] = (finding for finding in found if finding.startswith("The windows job"))
    assert "Z: WINDOW_DURATION (or window_duration) is 'soon': it must be a whole number above 0 and a unit" in refused
    with KafkaProducer(bootstrap_servers=stack.kafka, transactional_id="test-doctor") as successor:
        successor.init_transactions()  # aborts what the producer has left open
    stack.started("up", SCRIPT_DURATION="0")
    assert findings(stack) == []
