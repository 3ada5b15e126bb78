"""Checked delivery to Kafka: every record's result is looked at, and only so many are under way at a time."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress

from kafka.errors import KafkaError
from kafka.producer.future import FutureRecordMetadata

from kafka import KafkaProducer


class Deliveries:
    """Counts what was sent, acknowledged by the broker, and failed: sent = acknowledged + failed after close().

    kafka-python puts no bound on what it buffers. Here, at most `max_in_flight` records wait for their result;
    beyond that, send() waits for the oldest. `stopping` is asked while it waits: once true, nothing waits any more.
    """

    def __init__(self, producer: KafkaProducer, topic: str, max_in_flight: int, stopping: Callable[[], bool]) -> None:
        self._producer = producer
        self._topic = topic
        self._max_in_flight = max_in_flight
        self._stopping = stopping
        self._in_flight: deque[FutureRecordMetadata] = deque()
        self.sent = 0
        self.acknowledged = 0
        self.failed = 0
        self.last_error: BaseException | None = None

    def send(self, key: bytes, value: bytes) -> None:
        """Hand one record to the producer, waiting while `max_in_flight` others have no result yet."""
        self._settle_finished()
        while len(self._in_flight) >= self._max_in_flight and not self._stopping():
            with suppress(KafkaError):  # not there yet, or failed: counted next
                self._in_flight[0].get(timeout=0.2)
            self._settle_finished()
        self.sent += 1
        try:
            self._in_flight.append(self._producer.send(self._topic, key=key, value=value))
        except KafkaError as error:
            self._failed(error)

    def close(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the results that are missing; what has none by then counts as failed."""
        try:
            self._producer.close(timeout=timeout)
        except KafkaError as error:
            self.last_error = error
        for future in self._in_flight:
            if future.is_done:
                self._settle(future)
            else:
                self._failed(KafkaError(f"no answer from the broker within {timeout:g} s of the end"))
        self._in_flight.clear()

    def _settle_finished(self) -> None:
        while self._in_flight and self._in_flight[0].is_done:
            self._settle(self._in_flight.popleft())

    def _settle(self, future: FutureRecordMetadata) -> None:
        if future.succeeded():
            self.acknowledged += 1
        else:
            self._failed(future.exception)

    def _failed(self, error: BaseException) -> None:
        self.failed += 1
        self.last_error = error
