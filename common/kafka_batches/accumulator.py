"""Reaches into kafka-python's producer: it puts filled batches into its accumulator.

KafkaProducer.send() spends most of its time per record on checks, the partitioner, and a future with a lock and two
callbacks, not on encoding. Here the accumulator, which the producer's sender thread drains, gets the same batches, byte
for byte, but a record costs only its encoding, and a batch has one result. Idempotence, transactions and retries stay
kafka-python's.

Written against kafka-python 3.0.12 (RecordAccumulator, ProducerBatch, MemoryRecordsBuilder; all private).
tests/unit/test_kafka_batches.py compares the bytes with kafka-python's own and fails when an upgrade changes them.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from kafka import KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from kafka.producer.future import FutureRecordMetadata
from kafka.producer.producer_batch import ProducerBatch
from kafka.record.memory_records import MemoryRecordsBuilder
from kafka.record.util import encode_varint

MAGIC = 2  # the record format since Kafka 0.11


def varint(number: int) -> bytes:
    """A number in Kafka's variable-length encoding."""
    encoded = bytearray()
    encode_varint(number, encoded.append)
    return bytes(encoded)


cached_varint = cache(varint)  # for lengths and offsets, which take few values


class Batch(ProducerBatch):
    """Records of one partition that share one result."""

    def __init__(self, partition: TopicPartition, compression: int, size: int) -> None:
        """`compression` is Kafka's number of the codec, `size` the batch's limit in bytes before compression."""
        self._parts: list[FutureRecordMetadata] = []
        super().__init__(partition, MemoryRecordsBuilder(MAGIC, compression, size))  # type: ignore[no-untyped-call]
        self._size = size

    def extend(self, records: Sequence[tuple[bytes, bytes]]) -> int:
        """Append (key, value) records from the front while they fit and return how many did.

        The first record of a batch always fits.
        """
        if self.records._closed:  # the sender thread has taken it
            return 0
        builder = self.records._builder
        buffer, size, varints = builder._buffer, self._size, cached_varint
        now = int(time.time() * 1000)
        if builder._first_timestamp is None:
            builder._first_timestamp = now
        timestamp_delta = varint(now - builder._first_timestamp)
        first: int = self.record_count
        offset = first
        for key, value in records:
            # https://kafka.apache.org/documentation/#record: attributes, timestamp delta, offset delta, key, value, and
            # no headers
            record = b"\0%b%b%b%b%b%b\0" % (
                timestamp_delta, varints(offset), varints(len(key)), key, varints(len(value)), value
            )  # fmt: skip
            length = varints(len(record))
            if offset and len(buffer) + len(length) + len(record) > size:
                break
            buffer += length
            buffer += record
            offset += 1
        if offset > first:
            builder._max_timestamp = max(now, builder._max_timestamp or now)
            builder._num_records, builder._last_offset, self.records._next_offset = offset, offset - 1, offset
        return offset - first

    @property
    def has_result(self) -> bool:
        """Whether every record of the batch was acknowledged or has failed."""
        return all(part.is_done for part in self._parts) if self._parts else bool(self.is_done)

    def failures(self) -> list[BaseException]:
        """The errors of the records that failed, one each; to be called once the batch has a result."""
        if self._parts:
            return [part.exception for part in self._parts if part.failed() and part.exception]
        result: Any = self.produce_future.value
        _, _, error_of = result
        return [error_of(index) for index in range(self.record_count)] if error_of else []

    def wait(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for a result of the batch, or of a part of it where it was split."""
        if missing := [part for part in self._parts if not part.is_done]:
            with suppress(KafkaError):  # a timeout, or the part's failure
                missing[0].get(timeout)
        elif not self._parts:
            self.produce_future.wait(timeout)

    @property
    def _record_futures(self) -> list[FutureRecordMetadata]:
        """One future per record. kafka-python asks for them when it splits a batch that the broker finds too large.

        It binds them to the parts, so from then on they hold the result.
        """
        if not self._parts:
            unused = None, None, -1, -1, -1  # timestamp, checksum and sizes
            indexes = range(self.record_count)
            self._parts = [FutureRecordMetadata(self.produce_future, index, *unused) for index in indexes]
        return self._parts

    @_record_futures.setter
    def _record_futures(self, initial: list[FutureRecordMetadata]) -> None:
        """Ignore the empty list that the constructor of ProducerBatch sets."""


def append(producer: KafkaProducer, partition: TopicPartition, records: Sequence[tuple[bytes, bytes]]) -> list[Batch]:
    """Give (key, value) records of one partition to the producer, in order; return the batches that this created.

    To be called by one thread per producer, which then must not call send() for the same partition. Raises KafkaError
    when the producer's transaction has failed.
    """
    if producer._transaction_manager and producer._transaction_manager.is_transactional():
        producer._transaction_manager.maybe_add_partition_to_transaction(partition)
    accumulator: Any = producer._accumulator
    created = []
    with accumulator._tp_lock(partition):
        batches = accumulator._batches[partition]
        taken = batches[-1].extend(records) if batches and isinstance(batches[-1], Batch) else 0
        while taken < len(records):
            batch = Batch(partition, accumulator.config["compression_attrs"], accumulator.config["batch_size"])
            taken += batch.extend(records[taken:])
            batches.append(batch)
            accumulator._incomplete.add(batch)
            created.append(batch)
    if created:
        producer._sender.wakeup()
    return created


def abort(producer: KafkaProducer) -> None:
    """Fail all records without a result, and send none of them any more.

    KafkaProducer.close() does the same only where its flush() doesn't raise before.
    """
    producer._sender.force_close()
    producer._sender.join()
