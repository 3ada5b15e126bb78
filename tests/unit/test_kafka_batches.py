"""kafka_batches fills the same batches as kafka-python, and chooses the same partitions."""

import pytest
from kafka import TopicPartition
from kafka.partitioner import DefaultPartitioner
from kafka.producer.record_accumulator import RecordAccumulator
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder
from kafka_batches import Batch, accumulator, append, partition_for

PARTITION = TopicPartition("topic", 0)
NOW = 1767225600  # 2026-01-01
NO_COMPRESSION, LZ4 = 0, 3
# Lengths that take one byte and two as a varint, and more bytes than one batch of 128 KiB holds.
RECORDS = [(b"%d" % number, b"v" * (number % 300)) for number in range(1000)]


class Clock:
    now = float(NOW)

    @classmethod
    def time(cls) -> float:
        return cls.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    monkeypatch.setattr(accumulator, "time", Clock)
    monkeypatch.setattr(Clock, "now", float(NOW))
    return Clock


@pytest.mark.parametrize("compression", [NO_COMPRESSION, LZ4])
@pytest.mark.parametrize("size", [200, 16 * 1024, 128 * 1024])
def test_a_batch_has_the_same_bytes_as_one_of_kafka_python(compression: int, size: int, clock: type[Clock]) -> None:
    ours = Batch(PARTITION, compression, size)
    theirs = MemoryRecordsBuilder(2, compression, size)
    taken = [ours.extend(RECORDS[:10])]
    clock.now += 5
    taken.append(ours.extend(RECORDS[10:]))
    appended = [theirs.append(NOW * 1000, *record) for record in RECORDS[:10]]
    appended += [theirs.append((NOW + 5) * 1000, *record) for record in RECORDS[10:]]
    # kafka-python may append a smaller record after one that doesn't fit. Ours must not: that would change the order.
    fitting = appended.index(None)
    assert sum(taken) == ours.record_count == fitting
    theirs = MemoryRecordsBuilder(2, compression, size)
    for number, record in enumerate(RECORDS[:fitting]):
        theirs.append((NOW if number < 10 else NOW + 5) * 1000, *record)
    for builder in (ours.records, theirs):
        builder.set_producer_state(7, 1, 0, False)
        builder.close()
    assert ours.records.buffer() == theirs.buffer()


def test_the_first_record_of_a_batch_always_fits_and_a_closed_batch_takes_none() -> None:
    large = Batch(PARTITION, LZ4, 100)
    assert large.extend([(b"key", b"v" * 1000), (b"key", b"v")]) == 1
    large.records.close()
    assert large.extend([(b"key", b"v")]) == 0


def test_records_fill_as_many_batches_as_they_need_in_order() -> None:
    class Producer:
        _accumulator = RecordAccumulator(batch_size=1000)
        _transaction_manager = None
        wakeups = 0

        @classmethod
        def wakeup(cls) -> None:
            cls.wakeups += 1

    Producer._sender = Producer  # type: ignore[attr-defined]
    new = append(Producer, PARTITION, RECORDS[:5])
    assert (len(new), Producer.wakeups) == (1, 1)
    assert append(Producer, PARTITION, RECORDS[5:10]) == []  # the first batch had space left
    assert Producer.wakeups == 1
    new += append(Producer, PARTITION, RECORDS[10:200])
    assert list(Producer._accumulator._batches[PARTITION]) == new
    read = []
    for each in new:
        each.records.close()
        read += [(r.key, r.value) for part in MemoryRecords(each.records.buffer()) for r in part]
    assert read == RECORDS[:200]


def test_wait_ends_with_the_result() -> None:
    answered = Batch(PARTITION, LZ4, 1000)
    answered.extend(RECORDS[:2])
    answered.wait(timeout=0)
    assert not answered.has_result
    answered.complete(0, -1)
    answered.wait(timeout=60)
    assert answered.has_result and answered.failures() == []


@pytest.mark.parametrize("partitions", [1, 2, 7])
def test_a_key_goes_to_the_partition_that_kafkas_clients_choose(partitions: int) -> None:
    class Cluster:
        @staticmethod
        def topics() -> set[str]:
            return {"topic"}

        @staticmethod
        def partitions_for_topic(_topic: str) -> set[int]:
            return set(range(partitions))

        available_partitions_for_topic = partitions_for_topic

    for key in [b"", *(b"%d" % number for number in range(1000))]:
        theirs = DefaultPartitioner().partition("topic", key, key, None, None, Cluster)
        assert partition_for(key, partitions) == theirs
