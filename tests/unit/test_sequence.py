"""The last seq of each vehicle: which records of the raw topic have one, and how the topic is read."""

from types import SimpleNamespace
from typing import Any

import pytest
from generator import sequence
from generator.sequence import HIGHEST_SEQ, Last, _reading, last_readings, last_seq
from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError, UnsupportedCodecError
from kafka_client import KafkaClient


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b'{"entity":7,"seq":3}', (7, 3)),
        (b'{"seq":3,"entity":7,"temp":"warm"}', (7, 3)),  # rejected, but the vehicle used this seq
        (b'{"entity":"7","seq":3}', (7, 3)),
        (b'{"entity":7.0,"seq":3}', (7, 3)),
        (b'{"entity":"truck-904","seq":3}', None),
        (b'{"entity":"07","seq":3}', None),
        (b'{"entity":" 7 ","seq":3}', None),
        ('{"entity":"\u0667","seq":3}'.encode(), None),
        (b'{"entity":"' + b"9" * 5000 + b'","seq":3}', None),
        (b'{"entity":7.5,"seq":3}', None),
        (b'{"entity":1e999,"seq":3}', None),
        (b'{"entity":NaN,"seq":3}', None),
        (b'{"entity":[7],"seq":3}', None),
        (b'{"entity":true,"seq":3}', None),
        (b'{"entity":7,"seq":9223372036854775807}', None),  # no seq of ours
        (b'{"entity":7,"seq":%d}' % HIGHEST_SEQ, (7, HIGHEST_SEQ)),
        (b'{"entity":7,"seq":"3"}', None),
        (b'{"entity":7}', None),
        (b"[7, 3]", None),
        (b"not json", None),
        (b"[" * 100_000, None),
        (None, None),
    ],
)
def test_a_seq_counts_only_where_it_is_of_a_vehicle_of_a_fleet(
    value: bytes | None, found: tuple[int, int] | None
) -> None:
    assert _reading(value) == (found and (*found, 0))


@pytest.mark.parametrize(
    ("time", "milliseconds"),
    [
        (b'"2026-11-25T10:00:00.005Z"', 1_795_600_800_005),
        (b'"2026-11-25T12:00:00.005+02:00"', 1_795_600_800_005),
        (b'"10 o\'clock"', 0),
        (b"7", 0),
        (b"null", 0),
    ],
)
def test_the_time_of_a_reading_is_in_milliseconds(time: bytes, milliseconds: int) -> None:
    assert _reading(b'{"entity":7,"seq":3,"time":%b}' % time) == (7, 3, milliseconds)


KAFKA = KafkaClient("kafka:1")


class FakeConsumer:
    """A topic of partitions with `values`; an exception among them stays where it is.

    Kafka's timestamp of a record is its offset, or the number that is given with the value.
    """

    def __init__(self, *values: list[Any]) -> None:
        self.values = values
        self.at: dict[TopicPartition, int] = {}
        self.isolation_level = ""
        self.starts: list[int] = []

    def __call__(self, **settings: Any) -> "FakeConsumer":
        self.isolation_level = settings["isolation_level"]
        return self

    def partitions_for_topic(self, _topic: str) -> set[int]:
        return set(range(len(self.values)))

    def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {partition: len(self.values[partition.partition]) for partition in partitions}

    def assign(self, partitions: list[TopicPartition]) -> None:
        [self.assigned] = partitions

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.starts.append(offset)
        self.at[partition] = offset

    def position(self, partition: TopicPartition) -> int:
        return self.at[partition]

    def poll(self, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        partition = self.assigned
        value = self.values[partition.partition][self.at[partition]]
        if isinstance(value, Exception):
            raise value
        if value == "no answer":
            return {}
        value, timestamp = value if isinstance(value, tuple) else (value, self.at[partition])
        self.at[partition] += 1
        # An aborted record, or the marker of a transaction, moves the position only.
        return {} if value == "aborted" else {partition: [SimpleNamespace(value=value, timestamp=timestamp)]}

    def close(self) -> None:
        pass


def reading(entity: int, seq: int) -> bytes:
    return b'{"entity":%d,"seq":%d}' % (entity, seq)


def test_the_committed_records_of_every_partition_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = FakeConsumer([reading(1, 4), reading(3, 1), reading(1, 2), "aborted"], ["aborted", reading(2, 9)])
    monkeypatch.setattr(sequence, "KafkaConsumer", consumer)
    assert last_seq(KAFKA, "raw", 2) == {1: 4, 2: 9}
    assert consumer.isolation_level == "read_committed"


def test_twice_as_many_are_read_until_every_vehicle_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = FakeConsumer([reading(2, 5), *[b"foreign"] * 30_000, reading(1, 4)])
    monkeypatch.setattr(sequence, "KafkaConsumer", consumer)
    assert last_seq(KAFKA, "raw", 2) == {1: 4, 2: 5}
    assert consumer.starts == [30_002 - 20_004, 0]


def test_a_history_in_one_partition_does_not_hide_the_live_readings_in_another(monkeypatch: pytest.MonkeyPatch) -> None:
    history = [(reading(entity, seq), 1) for seq in (1, 2) for entity in (1, 2)]
    live = [(reading(2, 3), 2), *[(b"foreign", 3)] * 30_000]
    consumer = FakeConsumer([*history, (reading(1, 3), 2)], live)
    monkeypatch.setattr(sequence, "KafkaConsumer", consumer)
    assert last_seq(KAFKA, "raw", 2) == {1: 3, 2: 3}
    assert consumer.starts == [0, len(live) - 20_004, 0, 0]


def test_the_last_reading_has_the_newest_time_and_that_of_a_rejected_one_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def at(time: str, seq: int) -> bytes:
        return b'{"entity":1,"seq":%d,"time":"%b"}' % (seq, time.encode())

    sent = 1_795_600_800_000  # 2026-11-25T10:00:00Z
    partition = [
        (at("2026-11-25T09:59:55.000Z", 1), sent),
        (at("2026-11-25T10:00:10.000Z", 2), sent),  # as far ahead as the schema allows
        (at("2026-11-25T10:00:10.001Z", 3), sent),
        (at("2099-01-01T00:00:00.000Z", 4), sent + 1),
    ]
    monkeypatch.setattr(sequence, "KafkaConsumer", FakeConsumer(partition, []))
    assert last_readings(KAFKA, "raw", 1) == {1: Last(seq=4, time=sent + 10_000, sent=sent + 1)}


def test_a_batch_that_cannot_be_read_does_not_stop_the_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = FakeConsumer([reading(1, 4), UnsupportedCodecError("zstd")], [reading(2, 9)])
    monkeypatch.setattr(sequence, "KafkaConsumer", consumer)
    assert last_seq(KAFKA, "raw", 2) == {1: 4, 2: 9}
    assert caplog.messages[0].startswith("raw can't be read from offset 1 of partition 0 on (UnsupportedCodecError: zs")


def test_a_kafka_that_gives_no_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "KafkaConsumer", FakeConsumer([reading(1, 4), "no answer"]))
    monkeypatch.setattr(sequence, "IDLE_TIMEOUT", 0)
    monkeypatch.setattr(sequence, "LIMIT", 0)
    with pytest.raises(KafkaTimeoutError, match="Kafka returned no record of raw for 0 s"):
        last_seq(KAFKA, "raw", 1)


def test_another_consumer_begins_again_when_one_gets_no_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    consumers = iter([FakeConsumer([reading(1, 4), "no answer"]), FakeConsumer([reading(1, 4), reading(2, 9)])])

    def consumer(**options: Any) -> Any:
        return next(consumers)(**options)

    monkeypatch.setattr(sequence, "KafkaConsumer", consumer)
    monkeypatch.setattr(sequence, "IDLE_TIMEOUT", 0)
    assert last_seq(KAFKA, "raw", 2) == {1: 4, 2: 9}
    [said] = caplog.messages
    assert said == "KafkaTimeoutError: Kafka returned no record of raw for 0 s; the last readings are read again"
