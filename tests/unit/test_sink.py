"""What the sink tells Kafka besides its records, with a fake producer. Its transactions are tested end to end."""

from threading import Event
from typing import Any

import pytest
from kafka import OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaTimeoutError, ProducerFencedError
from repository import job_settings
from service.settings import checked
from windows_job import sink
from windows_job.query import kafka_options
from windows_job.settings import Settings


class FakeProducer:
    """Keeps the calls."""

    calls: list[tuple[str, Any]]

    def __init__(self, **options: Any) -> None:
        FakeProducer.calls = [("options", options)]

    def partitions_for(self, topic: str) -> set[int]:
        return {0}

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **_: self.calls.append((name, arguments))


def settings(**changed: str) -> Settings:
    return checked(job_settings(), changed)


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink, "KafkaProducer", FakeProducer)
    monkeypatch.setattr(sink, "await_group", lambda *_: None)
    monkeypatch.setattr(sink, "last_token", lambda *_: None)


def test_the_offsets_of_a_batch_are_committed_to_the_group_in_its_transaction() -> None:
    made = sink.ExactlyOnceSink(settings(KAFKA_GROUP_ID="fleet-job"), [], 1)
    made.commit([], {"batch_id": 0, "offsets": {"raw": {"0": 7, "1": 9}, "control": {"0": 0}}})
    names = [name for name, _ in FakeProducer.calls]
    assert names[names.index("begin_transaction") :] == [
        "begin_transaction", "send_offsets_to_transaction", "send", "commit_transaction",
    ]  # fmt: skip
    offsets, group = dict(FakeProducer.calls)["send_offsets_to_transaction"]
    assert group == "fleet-job"
    assert offsets == {
        TopicPartition("raw", 0): OffsetAndMetadata(7, "", -1),
        TopicPartition("raw", 1): OffsetAndMetadata(9, "", -1),
        TopicPartition("control", 0): OffsetAndMetadata(0, "", -1),
    }


@pytest.mark.parametrize(
    ("call", "limit"), [("send_offsets_to_transaction", "OFFSETS_LIMIT"), ("commit_transaction", "COMMIT_LIMIT")]
)
def test_a_transaction_that_kafka_never_completes_is_given_up(
    monkeypatch: pytest.MonkeyPatch, call: str, limit: str
) -> None:
    monkeypatch.setattr(sink, limit, 0.2)
    made, ended = sink.ExactlyOnceSink(settings(), [], 1), Event()
    monkeypatch.setattr(FakeProducer, call, lambda *_: ended.wait(60), raising=False)
    with pytest.raises(KafkaTimeoutError, match=r"^KafkaTimeoutError: Kafka has not completed .* within 0\.2 s$"):
        made.commit([], {"batch_id": 0, "offsets": {"raw": {"0": 7}}})
    ended.set()
    assert FakeProducer.calls[-1][0] == "close"
    assert made.last_token is None


def test_an_error_of_a_transaction_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fenced(*_: Any) -> None:
        raise ProducerFencedError

    made = sink.ExactlyOnceSink(settings(), [], 1)
    monkeypatch.setattr(FakeProducer, "commit_transaction", fenced, raising=False)
    with pytest.raises(ProducerFencedError):
        made.commit([], {"batch_id": 0, "offsets": {"raw": {"0": 7}}})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "sensor-data-progress-windows-job"),
        ({"KAFKA_PROGRESS_TOPIC": "tokens"}, "tokens-windows-job"),
        ({"KAFKA_TRANSACTIONAL_ID": "fleet"}, "fleet"),
    ],
)
def test_the_transactional_id_is_a_setting(given: dict[str, str], expected: str) -> None:
    sink.ExactlyOnceSink(settings(**given), [], 1)
    assert dict(FakeProducer.calls)["options"]["transactional_id"] == expected


def test_sparks_groups_begin_with_the_name_of_the_group() -> None:
    assert kafka_options(settings(KAFKA_GROUP_ID="fleet-job"), 1)["groupIdPrefix"] == "fleet-job"
