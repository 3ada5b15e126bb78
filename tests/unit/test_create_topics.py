"""create_topics.py: which topics it creates, what it aligns, and what it refuses; with a fake Kafka."""

import logging
import sys
from collections.abc import Collection
from typing import Any

import create_topics
import pytest
from kafka.admin import ConfigResource
from kafka.errors import (
    InvalidReplicationFactorError,
    KafkaError,
    KafkaTimeoutError,
    PolicyViolationError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
)
from kafka_client import Properties
from repository import ROOT, assert_one_sentence, run_script
from service.contract import Topic, topics

BROKER = {"cleanup.policy": "delete", "message.timestamp.type": "CreateTime", "retention.ms": "604800000"}
SETTINGS = create_topics.Settings(
    kafka_bootstrap_servers="kafka:1", kafka_client_properties=Properties(), partitions=0, replication_factor=1
)


class FakeAdmin:
    """Kafka's admin client, with the number of partitions and the own settings of each topic."""

    def __init__(self, own: dict[str, dict[str, str]] | None = None, refuses: str = "OK", **partitions: int) -> None:
        self.partitions = dict(partitions)
        self.own = own or {}
        self.refuses = refuses
        self.created: dict[str, Any] = {}
        self.altered: dict[str, Any] = {}
        self.waited_for: list[str] = []

    def __call__(self, **_: Any) -> "FakeAdmin":
        return self

    def __enter__(self) -> "FakeAdmin":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def list_topics(self) -> list[str]:
        return list(self.partitions)

    def create_topics(self, new: dict[str, dict[str, Any]]) -> None:
        for name, options in new.items():
            if name in self.partitions:
                raise TopicAlreadyExistsError
            self.created[name] = options
            self.partitions[name] = options["num_partitions"]
            self.own[name] = options["configs"]

    def wait_for_topics(self, names: list[str], timeout_ms: int) -> None:
        assert timeout_ms == 30_000
        self.waited_for = names

    def describe_topics(self, names: Collection[str]) -> list[dict[str, Any]]:
        return [{"name": name, "partitions": [{}] * self.partitions[name]} for name in names]

    def describe_configs(self, resources: list[ConfigResource], config_filter: str) -> dict[str, Any]:
        assert config_filter == "all"
        [resource] = resources
        found = {name: {"value": value, "config_source": "DEFAULT_CONFIG"} for name, value in BROKER.items()}
        for name, value in self.own.get(resource.name, {}).items():
            found[name] = {"value": value, "config_source": "DYNAMIC_TOPIC_CONFIG"}
        return {"topic": {resource.name: found}}

    def alter_configs(self, resources: list[ConfigResource]) -> dict[str, Any]:
        [resource] = resources
        if self.refuses == "OK":
            self.altered[resource.name] = resource.configs
            self.own.setdefault(resource.name, {}).update(resource.configs)
        return {"topic": {resource.name: self.refuses}}


def new(partitions: int, replicas: int = 1, **configs: str) -> dict[str, Any]:
    return {
        "num_partitions": partitions,
        "replication_factor": replicas,
        "configs": {name.replace("_", "."): value for name, value in configs.items()},
    }


def topic(name: str, partitions: int, key: str | None, **config: str) -> Topic:
    options = {each.replace("_", "."): value for each, value in config.items()}
    return Topic(name, name, name, partitions, options, key=key, datasource=None, schema={})


WANTED = [
    topic("readings", 2, "entity", message_timestamp_type="LogAppendTime"),
    topic("windows", 2, "entity"),
    topic("tokens", 1, None),
]


def run(monkeypatch: pytest.MonkeyPatch, admin: FakeAdmin) -> int:
    """The exit code of the program."""
    monkeypatch.setattr(create_topics, "KafkaAdminClient", admin)
    monkeypatch.setattr(create_topics.log, "configure", lambda _: None)
    monkeypatch.setattr(create_topics, "topics", lambda _: {each.role: each for each in WANTED})
    return create_topics.main()


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


@pytest.mark.parametrize("partitions", [1, 4])
def test_another_number_of_partitions_is_accepted_where_records_have_keys(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, partitions: int
) -> None:
    caplog.set_level(logging.INFO)
    admin = FakeAdmin(windows=partitions)
    assert run(monkeypatch, admin) == 0
    assert admin.partitions["windows"] == partitions
    assert f"topic windows: exists with {partitions} partitions instead of 2" in caplog.messages


def test_a_second_partition_is_refused_where_the_records_are_one_sequence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    assert run(monkeypatch, FakeAdmin(tokens=2)) == 1
    assert caplog.messages == [
        "Topic tokens has 2 partitions, but its records are one sequence and must be in 1: the windows job would not"
        " find the newest one. If nothing has been written to the topic, delete it, and the next start creates it."
        " Otherwise remove all data and start again (`make reset` or `docker compose down --volumes`)."
    ]


def test_the_windows_jobs_topics_of_one_sequence_are_those_without_a_key() -> None:
    assert {role for role, each in topics({}).items() if each.key is None} == {"progress", "control"}


def test_a_topic_made_beforehand_gets_the_settings_of_the_contract(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    admin = FakeAdmin({"windows": {"cleanup.policy": "compact"}}, readings=2, windows=2)
    assert run(monkeypatch, admin) == 0
    assert admin.altered == {
        "readings": {"message.timestamp.type": "LogAppendTime"},
        "windows": {"cleanup.policy": "delete"},
    }
    assert caplog.messages == [
        "topic readings: had the settings message.timestamp.type=CreateTime,"
        " now has message.timestamp.type=LogAppendTime",
        "topic windows: had the settings cleanup.policy=compact, now has cleanup.policy=delete",
    ]
    caplog.clear()
    assert run(monkeypatch, admin) == 0
    assert caplog.messages == []


def test_other_settings_of_a_topic_stay_and_are_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    admin = FakeAdmin({"windows": {"retention.ms": "3600000"}}, windows=2)
    assert run(monkeypatch, admin) == 0
    assert admin.altered == {}
    assert "topic windows: keeps its own settings retention.ms=3600000" in caplog.messages


def test_settings_that_kafka_refuses_are_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    assert run(monkeypatch, FakeAdmin(readings=2, refuses="not authorized")) == 1
    assert caplog.messages == [
        "Topic readings needs the settings message.timestamp.type=LogAppendTime, but Kafka refuses to set them: not"
        " authorized. Set them with Kafka's kafka-configs.sh, and start again."
    ]


class Refusing(FakeAdmin):
    """Kafka that refuses to create topics: with a setting, or at all."""

    def __init__(self, error: KafkaError, setting: str = "", **partitions: int) -> None:
        super().__init__(**partitions)
        self.error, self.setting = error, setting

    def create_topics(self, new: dict[str, dict[str, Any]]) -> None:
        [options] = new.values()
        if not self.setting or self.setting in options["configs"]:
            raise self.error
        super().create_topics(new)


def test_topics_that_exist_need_no_right_to_create(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"readings": {"message.timestamp.type": "LogAppendTime"}}
    admin = Refusing(TopicAuthorizationFailedError("readings"), readings=2, windows=2, tokens=1)
    admin.own = own
    assert run(monkeypatch, admin) == 0


def test_a_setting_that_only_changes_the_speed_may_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(create_topics, "DISPENSABLE", {"message.timestamp.type"})
    admin = Refusing(PolicyViolationError("not allowed"), "message.timestamp.type")
    admin.refuses = "not authorized"
    assert run(monkeypatch, admin) == 0
    assert admin.created["readings"] == new(2)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PolicyViolationError("Not allowed."), "with the settings cleanup.policy=delete, message.timestamp.type=LogA"),
        (
            InvalidReplicationFactorError("x"),
            "Kafka refuses the topic readings: REPLICATION_FACTOR (or replication_f",
        ),
        (
            TopicAuthorizationFailedError("readings"),
            "Kafka does not show the topic readings to this client and does",
        ),
    ],
)
def test_a_topic_that_kafka_refuses_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: KafkaError, words: str
) -> None:
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(create_topics, "WAIT_FOR_BROKERS", 0)
    assert run(monkeypatch, Refusing(error)) == 1
    [message] = caplog.messages
    assert words in message


def test_brokers_that_are_about_to_come_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = Refusing(InvalidReplicationFactorError("x"))
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        admin.setting = "none"  # there are enough brokers now

    monkeypatch.setattr(create_topics.time, "sleep", pause)
    assert run(monkeypatch, admin) == 0
    assert len(pauses) == 1 and len(admin.created) == 3


def test_settings_that_are_not_shown_are_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    admin = FakeAdmin(readings=2, windows=2, tokens=1)
    monkeypatch.setattr(admin, "describe_configs", lambda each, **_: {"topic": {each[0].name: {}}})
    assert run(monkeypatch, admin) == 0
    assert sum("Kafka does not show its settings. The pipeline needs cleanup." in each for each in caplog.messages) == 3


def test_partitions_and_the_brokers_number_of_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = FakeAdmin()
    monkeypatch.setenv("PARTITIONS", "6")
    monkeypatch.setenv("REPLICATION_FACTOR", "-1")
    assert run(monkeypatch, admin) == 0
    assert admin.partitions == {"readings": 6, "windows": 6, "tokens": 1}
    assert {options["replication_factor"] for options in admin.created.values()} == {-1}


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


@pytest.mark.parametrize("given", ["0", "-2", "1.5", ""])
def test_a_replication_factor_that_is_not_allowed(
    given: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(create_topics.log, "configure", lambda _: None)
    monkeypatch.setenv("REPLICATION_FACTOR", given)
    assert create_topics.main() == 2
    assert caplog.messages == [
        f"REPLICATION_FACTOR (or replication_factor) is {given!r}: it must be a whole number, 1 or more, or -1 for the"
        " broker's default."
    ]


def test_the_script_ends_with_one_sentence() -> None:
    result = run_script([sys.executable, str(ROOT / "kafka/create_topics.py")], {"REPLICATION_FACTOR": "one"})
    assert result.returncode == 2
    assert_one_sentence(result.stderr)
    assert result.stderr.endswith(
        "Z ERROR topics: REPLICATION_FACTOR (or replication_factor) is 'one': it must be a whole number, 1 or more, or"
        " -1 for the broker's default.\n"
    )
