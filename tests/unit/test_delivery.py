"""Bounded and checked delivery, against a producer whose answers the test gives."""

from typing import Any

from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.future import Future

from delivery import Deliveries


class Answer(Future):  # type: ignore[misc]
    """A delivery's result that has not come yet; waiting for it lets `when_waited_for` happen."""

    def __init__(self, when_waited_for: Any = None) -> None:
        super().__init__()
        self.when_waited_for = when_waited_for

    def get(self, timeout: float | None = None) -> None:
        if self.when_waited_for:
            self.when_waited_for()
        if not self.is_done:
            raise KafkaTimeoutError()


class Producer:
    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.most_in_flight = 0

    def send(self, _topic: str, key: bytes, value: bytes) -> Answer:
        self.answers.append(Answer(self.acknowledge_oldest))
        self.most_in_flight = max(self.most_in_flight, sum(not answer.is_done for answer in self.answers))
        return self.answers[-1]

    def acknowledge_oldest(self) -> None:
        next(answer for answer in self.answers if not answer.is_done).success(None)

    def close(self, timeout: float) -> None:
        pass


def deliveries(producer: Producer, max_in_flight: int = 100, stopping: bool = False) -> Deliveries:
    return Deliveries(producer, "topic", max_in_flight, lambda: stopping)


def test_no_more_than_the_bound_are_in_flight() -> None:
    producer = Producer()
    sending = deliveries(producer, max_in_flight=3)
    for _ in range(10):
        sending.send(b"key", b"value")
    assert producer.most_in_flight == 3
    assert (sending.sent, sending.acknowledged) == (10, 7)


def test_every_result_is_counted_and_sent_is_their_sum() -> None:
    producer = Producer()
    sending = deliveries(producer)
    for _ in range(5):
        sending.send(b"key", b"value")
    for answer in producer.answers[:3]:
        answer.success(None)
    producer.answers[3].failure(KafkaError("refused"))
    sending.close(timeout=0)  # the fifth has no answer
    assert (sending.sent, sending.acknowledged, sending.failed) == (5, 3, 2)
    assert "no answer" in str(sending.last_error)


def test_a_record_that_could_not_even_be_handed_over_has_failed() -> None:
    class Refusing(Producer):
        def send(self, _topic: str, key: bytes, value: bytes) -> Answer:
            raise KafkaTimeoutError("no metadata")

    sending = deliveries(Refusing())
    sending.send(b"key", b"value")
    assert (sending.sent, sending.failed) == (1, 1)


def test_a_stop_ends_the_wait_for_the_broker() -> None:
    class Silent(Producer):
        def acknowledge_oldest(self) -> None:
            raise AssertionError("waited for the broker although stopping")

    sending = deliveries(Silent(), max_in_flight=1, stopping=True)
    sending.send(b"key", b"value")
    sending.send(b"key", b"value")
    assert sending.sent == 2
