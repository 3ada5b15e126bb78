"""Bounded and checked delivery, with kafka-python's own accumulator and a broker that is faked."""

import pytest
from generator.delivery import Deliveries
from kafka import TopicPartition
from kafka.errors import KafkaError, MessageSizeTooLargeError
from kafka.producer.record_accumulator import RecordAccumulator
from kafka.record.memory_records import MemoryRecords
from kafka_batches import Batch, partition_for

RECORDS = [(b"%d" % number, b"value") for number in range(10)]
BY_PARTITION = [[record for record in RECORDS if partition_for(record[0], 2) == number] for number in (0, 1)]


class Producer:
    """Stands in for KafkaProducer, with a topic of two partitions."""

    def __init__(self) -> None:
        self._accumulator = RecordAccumulator()
        self._transaction_manager = None
        self._sender = self

    def wakeup(self) -> None:
        pass

    def close(self, timeout: float) -> None:
        pass

    def partitions_for(self, _topic: str) -> set[int]:
        return {0, 1}

    def drain(self) -> list[Batch]:
        """The oldest batch of each partition that waits to be sent."""
        drained = [batches.popleft() for batches in self._accumulator._batches.values() if batches]
        for batch in drained:
            batch.records.close()
        return drained


def deliveries(producer: Producer, max_in_flight: int = 100, stopping: bool = False) -> Deliveries:
    return Deliveries(producer, "topic", max_in_flight, lambda: stopping)


def drained(producer: Producer) -> dict[TopicPartition, list[tuple[bytes, bytes]]]:
    """The records that wait to be sent, by partition."""
    batches = {batch.topic_partition: batch.records.buffer() for batch in producer.drain()}
    return {
        partition: [(record.key, record.value) for record in MemoryRecords(records).next_batch()]
        for partition, records in batches.items()
    }


def fail(batch: Batch, error: Exception) -> None:
    batch.complete_exceptionally(error, lambda _index: error)


@pytest.mark.parametrize("max_in_flight", [1, 3, 7])
def test_no_more_than_the_bound_are_in_flight(max_in_flight: int, monkeypatch: pytest.MonkeyPatch) -> None:
    producer, most_in_flight = Producer(), 0
    sending = deliveries(producer, max_in_flight)

    def acknowledge(_batch: Batch, timeout: float) -> None:
        nonlocal most_in_flight
        in_flight = producer.drain()
        most_in_flight = max(most_in_flight, sum(batch.record_count for batch in in_flight))
        for batch in in_flight:
            batch.complete(0, -1)

    monkeypatch.setattr(Batch, "wait", acknowledge)
    sending.send(RECORDS)
    assert most_in_flight == max_in_flight
    assert 10 - max_in_flight <= sending.acknowledged < sending.sent == 10


def test_every_result_is_counted_and_their_sum_is_the_number_sent() -> None:
    producer = Producer()
    sending = deliveries(producer)
    sending.send(RECORDS[:7])
    zero, one = producer.drain()  # four records and three
    zero.complete(0, -1)
    fail(one, KafkaError("refused"))
    sending.send(RECORDS[7:9])
    assert (sending.sent, sending.acknowledged, sending.failed) == (9, 4, 3)
    assert "refused" in str(sending.last_error)
    sending.close(timeout=0)  # no result for the last two
    assert (sending.sent, sending.acknowledged, sending.failed) == (9, 4, 5)
    assert "did not answer" in str(sending.last_error)


def test_nothing_is_acknowledged_before_the_broker_has_answered() -> None:
    producer = Producer()
    sending = deliveries(producer)
    sending.send(RECORDS)
    producer.drain()
    sending.send(RECORDS)
    assert (sending.acknowledged, sending.failed) == (0, 0)


def test_a_batch_that_is_too_large_for_the_broker_is_counted_by_its_parts() -> None:
    producer = Producer()
    sending = deliveries(producer)
    sending.send((b"0", b"%d" % number) for number in range(10))
    accumulator = producer._accumulator
    accumulator.split_and_reenqueue(producer.drain()[0])
    front = producer.drain()[0]
    front.complete(0, -1)  # the first five
    sending.send([])
    accumulator.split_and_reenqueue(producer.drain()[0])
    assert not sending._in_flight[0].has_result
    three, two = producer.drain()[0], producer.drain()[0]
    three.complete(5, -1)
    fail(two, MessageSizeTooLargeError("still too large"))
    sending.close(timeout=0)
    assert (sending.sent, sending.acknowledged, sending.failed) == (10, 8, 2)
    assert "still too large" in str(sending.last_error)


def test_records_go_to_the_partition_of_their_key_in_order() -> None:
    producer = Producer()
    sending = deliveries(producer)
    sending.send(RECORDS[:3])
    sending.send(RECORDS[3:])
    assert drained(producer) == {
        TopicPartition("topic", number): records for number, records in enumerate(BY_PARTITION)
    }


@pytest.mark.parametrize("number", [0, 1])
def test_all_records_go_to_a_given_partition_in_order(number: int) -> None:
    producer = Producer()
    sending = deliveries(producer, max_in_flight=10)
    sending.send(RECORDS[:3], to=number)
    sending.send(RECORDS[3:], to=number)
    assert drained(producer) == {TopicPartition("topic", number): RECORDS}


def test_a_stop_ends_the_wait_for_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Batch, "wait", None)  # calling it would raise
    sending = deliveries(Producer(), max_in_flight=1, stopping=True)
    sending.send(RECORDS)
    assert sending.sent == 10
