"""The doctor's checks of Kafka: literal values in, sentences out; and what it reads."""

import json
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from create_topics import TopicMismatch, check_partitions
from diagnosis import kafka_checks, kafka_state
from diagnosis.seen import Ends, FoundTopic
from kafka.errors import KafkaTimeoutError
from kafka_client import KafkaClient, NoAccess
from repository import ROOT
from service import contract

TOPICS = contract.topics()
FOUND = {t.name: FoundTopic("id", t.partitions, {"retention.ms": "1", **t.needed}) for t in TOPICS.values()}


@pytest.mark.parametrize("servers", ["kafka0:29092", "127.0.0.1:9092", "localhost:9092, [::1]:9092"])
def test_the_stacks_own_kafka_that_is_not_reachable_is_to_be_started(servers: str) -> None:
    assert kafka_checks.not_reachable(servers, "Connection refused") == (
        f"Kafka is not reachable at {servers} (Connection refused). Start it with `make up` (`docker compose up`); if"
        " it ends again, the cause is in kafka0.log in .local/stack/logs (`docker compose logs kafka0`)."
    )


def test_a_kafka_of_the_users_own_may_be_behind_the_closed_network() -> None:
    assert kafka_checks.not_reachable("kafka.test:9092,localhost:9092", "timed out") == (
        "Kafka is not reachable at kafka.test:9092,localhost:9092 (timed out). Check KAFKA_BOOTSTRAP_SERVERS and that"
        " server; containers reach other machines only with CLOSED_NETWORK=false in .env."
    )


def test_a_kafka_that_hangs_is_to_be_restarted() -> None:
    assert kafka_checks.no_answer("kafka0:29092", 5) == (
        "Kafka at kafka0:29092 accepts the connection but has not answered for 5 s: it hangs, or another program"
        " listens there. Restart it with `make down` and `make up` (`docker compose restart kafka0`)."
    )
    assert kafka_checks.no_answer("kafka.test:1", 5).endswith(" listens there. Check KAFKA_BOOTSTRAP_SERVERS.")


def test_topics_as_in_the_contract_are_no_finding() -> None:
    assert kafka_checks.topics("kafka:1", TOPICS, FOUND) == []


def test_missing_topics_are_named() -> None:
    found = {name: topic for name, topic in FOUND.items() if name not in ("sensor-data-late", "sensor-data-runs")}
    assert kafka_checks.topics("kafka:1", TOPICS, found) == [
        "Topics are missing in Kafka: sensor-data-late, sensor-data-runs. `make up` (`docker compose up`) creates them."
    ]


def test_without_any_topic_it_may_be_another_kafka() -> None:
    [finding] = kafka_checks.topics("kafka:1", TOPICS, {})
    assert finding.startswith("Kafka at kafka:1 has none of the pipeline's topics (sensor-data-raw, ")
    assert finding.endswith(
        " If that is the right Kafka, `make up` (`docker compose up`) creates them; otherwise correct"
        " KAFKA_BOOTSTRAP_SERVERS."
    )


def test_settings_that_differ_are_named_with_both_values() -> None:
    raw = FOUND["sensor-data-raw"]
    other = {**raw.config, "cleanup.policy": "compact", "message.timestamp.type": "CreateTime", "retention.ms": "7"}
    found = FOUND | {"sensor-data-raw": FoundTopic("id", 2, other)}
    assert kafka_checks.topics("kafka:1", TOPICS, found) == [
        "Topic sensor-data-raw has the settings cleanup.policy=compact, message.timestamp.type=CreateTime instead of"
        " cleanup.policy=delete, message.timestamp.type=LogAppendTime: `make up` (`docker compose up`) sets them."
    ]


def test_partitions_matter_where_the_records_are_one_sequence() -> None:
    for name, findings in (("sensor-data-raw", 0), ("sensor-data-late", 0), ("sensor-data-control", 1)):
        found = FOUND | {name: replace(FOUND[name], partitions=3)}
        assert len(kafka_checks.topics("kafka:1", TOPICS, found)) == findings, name
    assert kafka_checks.wrong_partitions(TOPICS["control"], FoundTopic("id", 3, {})) == [
        "Topic sensor-data-control has 3 partitions instead of 1, but its records are one sequence. If nothing has been"
        " written to it, delete it, and `make up` (`docker compose up`) creates it; otherwise remove all data with"
        " `make reset` (`docker compose down --volumes`)."
    ]


@pytest.mark.parametrize("role", TOPICS)
def test_partitions_that_the_start_refuses_are_those_that_are_named(role: str) -> None:
    for partitions in (1, 2, 3):
        found = FoundTopic("id", partitions, {})
        with pytest.raises(TopicMismatch) if kafka_checks.wrong_partitions(TOPICS[role], found) else nullcontext():
            check_partitions(TOPICS[role], partitions)


def ends(committed: dict[int, int], end: dict[int, int]) -> dict[str, Ends]:
    return {"raw": Ends(dict.fromkeys(end, 0), committed, end)}


@pytest.mark.parametrize(
    ("before", "now", "hidden"),
    [
        (ends({0: 5, 1: 7}, {0: 5, 1: 7}), ends({0: 9, 1: 7}, {0: 9, 1: 7}), {}),
        (ends({0: 5}, {0: 8}), ends({0: 9}, {0: 9}), {}),  # ended meanwhile
        (ends({0: 5}, {0: 8}), ends({0: 9}, {0: 12}), {}),  # another one
        (ends({0: 5}, {0: 5}), ends({0: 5}, {0: 8}), {}),  # just begun
        (ends({0: 5, 1: 7}, {0: 8, 1: 7}), ends({0: 5, 1: 9}, {0: 12, 1: 9}), {("raw", 0): 7}),
        (ends({0: 5}, {0: 8}), {}, {}),
    ],
)
def test_a_transaction_that_was_open_at_both_looks_hides_records(
    before: dict[str, Ends], now: dict[str, Ends], hidden: dict[tuple[str, int], int]
) -> None:
    assert kafka_checks.held_back(before, now) == hidden


def test_the_producer_of_an_open_transaction_is_named() -> None:
    hidden = {("raw", 1): 1_200, ("raw", 0): 1, ("aggregated", 0): 50}
    producers = {("raw", 0): [], ("raw", 1): ["importer"], ("aggregated", 0): ["windows-job"]}
    assert kafka_checks.open_transactions(hidden, lambda *place: producers[place], "windows-job") == [
        "An open transaction hides 1 offset of partition 0 of raw from every reader. End or restart that producer;"
        " Kafka aborts the transaction after the producer's transaction.timeout.ms.",
        "An open transaction of the producer with the transactional id importer hides 1,200 offsets of partition 1 of"
        " raw from every reader. End or restart that producer; Kafka aborts the transaction after the producer's"
        " transaction.timeout.ms.",
    ]


def test_the_windows_job_has_this_transactional_id() -> None:
    settings = (ROOT / "pyspark/windows_job/settings.py").read_text()
    assert f'f"{kafka_checks.own_transactional_id("{self.kafka_progress_topic}")}"' in settings


@pytest.mark.parametrize(
    ("newest", "came_meanwhile", "words"),
    [
        (-1, True, ""),  # no record
        (1_000_000, True, ""),
        (1_059_000, False, ""),
        (1_061_000, False, "Kafka's clock is 61 s ahead of this machine's clock."),
        (500_000, False, ""),  # an old record says nothing
        (500_000, True, "Kafka's clock is 500 s behind this machine's clock."),
    ],
)
def test_clocks_that_differ(newest: int, came_meanwhile: bool, words: str) -> None:
    findings = kafka_checks.clock(newest, came_meanwhile, now=1_000)
    assert [finding[: len(words)] for finding in findings] == ([words] if words else [])


class FakeConsumer:
    """A consumer of one partition with these values, one in each poll. The last offset is the end of a transaction."""

    def __init__(self, values: list[bytes]) -> None:
        self.values = values
        self.at = 0

    def __call__(self, **_: Any) -> "FakeConsumer":
        return self

    def assign(self, _: object) -> None:
        pass

    def seek(self, _: object, offset: int) -> None:
        self.at = offset

    def position(self, _: object) -> int:
        return self.at

    def poll(self, **_: object) -> dict[str, list[SimpleNamespace]]:
        self.at += 1
        return {"p0": [SimpleNamespace(value=value) for value in self.values[self.at - 1 : self.at]]}

    def close(self) -> None:
        pass


def test_the_newest_records_are_read_up_to_a_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [json.dumps({"offset": offset}).encode() for offset in range(4)]
    monkeypatch.setattr(kafka_state, "probe", lambda _: None)
    monkeypatch.setattr(kafka_state, "KafkaAdminClient", lambda **_: None)
    monkeypatch.setattr(kafka_state, "KafkaConsumer", FakeConsumer([*values, b"no JSON", b"[]"]))
    kafka, end = kafka_state.Kafka(KafkaClient("kafka:1")), Ends({0: 0}, {0: 7}, {0: 7})
    assert kafka.newest("topic", end, 5) == [{"offset": 2}, {"offset": 3}]
    monkeypatch.setattr(kafka_state, "READ_LIMIT", 2 * len(values[0]))
    assert kafka.newest("topic", end, 7) == [{"offset": 0}, {"offset": 1}]
    assert len(kafka.read("topic", {0: 1}, {0: 7}, enough=1)) == 1
    assert kafka.read("topic", {0: 7}, {0: 7}) == []


@pytest.mark.parametrize(
    ("error", "raised"),
    [(KafkaTimeoutError("slow"), kafka_state.NoAnswer), (NoAccess("refused"), NoAccess)],
)
def test_a_login_that_is_not_answered_in_time_is_not_one_that_is_refused(
    monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[Exception]
) -> None:
    def await_access(*_: Any) -> None:
        raise error

    monkeypatch.setattr(kafka_state, "probe", lambda _: None)
    monkeypatch.setattr(kafka_state, "await_access", await_access)
    with pytest.raises(raised, match=str(error)):
        kafka_state.Kafka(KafkaClient("kafka:1"))
