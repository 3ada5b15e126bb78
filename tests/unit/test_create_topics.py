"""create_topics.py: which topics it creates, and what it refuses; with a fake Kafka."""

import logging
import sys
from collections.abc import Collection
from typing import Any

import create_topics
import pytest
from kafka.errors import KafkaTimeoutError, TopicAlreadyExistsError
from repository import ROOT, assert_one_sentence, run_script
from service.contract import Topic, topics

SETTINGS = create_topics.Settings(kafka_bootstrap_servers="kafka:1", replication_factor=1)


class FakeAdmin:
    """Kafka's admin client, with the number of partitions of each topic."""

    def __init__(self, **partitions: int) -> None:
        self.partitions = dict(partitions)
        self.created: dict[str, Any] = {}
        self.waited_for: list[str] = []

    def __call__(self, **_: Any) -> "FakeAdmin":
        return self

    def __enter__(self) -> "FakeAdmin":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def create_topics(self, new: dict[str, dict[str, Any]]) -> None:
        for name, options in new.items():
            if name in self.partitions:
                raise TopicAlreadyExistsError
            self.created[name] = options
            self.partitions[name] = options["num_partitions"]

    def wait_for_topics(self, names: list[str], timeout_ms: int) -> None:
        assert timeout_ms == 30_000
        self.waited_for = names

    def describe_topics(self, names: Collection[str]) -> list[dict[str, Any]]:
        return [{"name": name, "partitions": [{}] * self.partitions[name]} for name in names]


def new(partitions: int, replicas: int = 1, **configs: str) -> dict[str, Any]:
    return {
        "num_partitions": partitions,
        "replication_factor": replicas,
        "configs": {name.replace("_", "."): value for name, value in configs.items()},
    }


def topic(name: str, partitions: int, **config: str) -> Topic:
    options = {each.replace("_", "."): value for each, value in config.items()}
    return Topic(name, name, name, partitions, options, key=None, datasource=None, schema={})


WANTED = [topic("readings", 2, message_timestamp_type="LogAppendTime"), topic("windows", 2), topic("tokens", 1)]


def test_topics_are_created_with_their_partitions_and_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = FakeAdmin()
    monkeypatch.setattr(create_topics, "KafkaAdminClient", admin)
    create_topics.create(SETTINGS, WANTED)
    assert admin.created == {
        "readings": new(2, message_timestamp_type="LogAppendTime"),
        "windows": new(2),
        "tokens": new(1),
    }
    assert admin.waited_for == list(admin.created)


def test_a_second_run_creates_only_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = FakeAdmin(windows=2, tokens=1)
    monkeypatch.setattr(create_topics, "KafkaAdminClient", admin)
    create_topics.create(SETTINGS, WANTED)
    assert admin.created == {"readings": new(2, message_timestamp_type="LogAppendTime")}
    create_topics.create(SETTINGS, WANTED)
    assert len(admin.created) == 1


def test_all_topics_of_the_contract_are_created_under_the_names_that_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = FakeAdmin()
    monkeypatch.setattr(create_topics, "KafkaAdminClient", admin)
    monkeypatch.setattr(create_topics.log, "configure", lambda _: None)
    monkeypatch.setenv("KAFKA_RAW_TOPIC", "fleet")
    assert create_topics.main() == 0
    assert set(admin.created) == {each.name for each in topics({"KAFKA_RAW_TOPIC": "fleet"}).values()}
    assert "fleet" in admin.created


def test_the_replication_factor_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = FakeAdmin()
    monkeypatch.setattr(create_topics, "KafkaAdminClient", admin)
    monkeypatch.setattr(create_topics.log, "configure", lambda _: None)
    monkeypatch.setenv("REPLICATION_FACTOR", "3")
    assert create_topics.main() == 0
    assert {options["replication_factor"] for options in admin.created.values()} == {3}


def test_another_number_of_partitions_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(create_topics, "KafkaAdminClient", FakeAdmin(readings=3))
    monkeypatch.setattr(create_topics.log, "configure", lambda _: None)
    monkeypatch.setattr(create_topics, "topics", lambda _: {each.role: each for each in WANTED})
    assert create_topics.main() == 1
    assert caplog.messages == [
        "Topic readings has 3 partitions, but schemas/topics.json says 2: set its partitions there to 3, or"
        " remove all data and start again (`make reset` or `docker compose down --volumes`)."
    ]


def test_without_kafka_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def no_kafka(**_: Any) -> None:
        raise KafkaTimeoutError("Unable to bootstrap from kafka:1")

    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(create_topics, "KafkaAdminClient", no_kafka)
    monkeypatch.setattr(create_topics.log, "configure", lambda _: None)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka:1")
    assert create_topics.main() == 1
    [message] = caplog.messages
    assert message.startswith(
        "The topics were not created: KafkaTimeoutError: Unable to bootstrap from kafka:1. Check "
    )


@pytest.mark.parametrize("given", ["0", "-1", "one", "1.5"])
def test_a_replication_factor_that_is_not_allowed(given: str) -> None:
    result = run_script([sys.executable, str(ROOT / "kafka/create_topics.py")], {"REPLICATION_FACTOR": given})
    assert result.returncode == 2
    assert_one_sentence(result.stderr)
    assert result.stderr.endswith(
        f"Z ERROR topics: REPLICATION_FACTOR (or replication_factor) is {given!r}:"
        " it must be a whole number, 1 or more.\n"
    )
