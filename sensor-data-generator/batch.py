"""Record batches for kafka-python that are filled with many records at a time.

KafkaProducer.send() spends most of its time on a record not in encoding it but on checks, on the partitioner, and on a
future with a lock and two callbacks. Here the producer's accumulator, which its sender thread drains, gets the same
batches, byte for byte, but a record costs its encoding and nothing else, and a batch has one result.
This reaches into kafka-python 3.0.12 (RecordAccumulator, ProducerBatch, MemoryRecordsBuilder), hence the pinned
version; tests/unit/test_batch.py compares the bytes with kafka-python's own and would show a change.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache

from kafka.errors import KafkaError
from kafka.producer.future import FutureRecordMetadata
from kafka.producer.producer_batch import ProducerBatch
from kafka.record.memory_records import MemoryRecordsBuilder
from kafka.record.util import encode_varint

from kafka import KafkaProducer, TopicPartition

MAGIC = 2  # the record format since Kafka 0.11


def varint(number: int) -> bytes:
    encoded = bytearray()
    encode_varint(number, encoded.append)
    return bytes(encoded)


length_varint = cache(varint)  # for lengths and offsets, of which there are few


class Batch(ProducerBatch):  # type: ignore[misc]
    """Some records of one partition, and their one result."""

    def __init__(self, partition: TopicPartition, compression: int, size: int) -> None:
        """`compression` is Kafka's number of it; `size` the bytes, before compression, that fit in."""
        self._parts: list[FutureRecordMetadata] = []
        super().__init__(partition, MemoryRecordsBuilder(MAGIC, compression, size))
        self._size = size

    def extend(self, records: Sequence[tuple[bytes, bytes]]) -> int:
        """Append (key, value) records from the front while they fit (a batch's first always does); how many did."""
        if self.records._closed:  # it is on its way to the broker already
            return 0
        builder = self.records._builder
        buffer, size, varints = builder._buffer, self._size, length_varint
        now = int(time.time() * 1000)
        if builder._first_timestamp is None:
            builder._first_timestamp = now
        after_first = varint(now - builder._first_timestamp)
        first: int = self.record_count
        offset = first
        for key, value in records:
            # https://kafka.apache.org/documentation/#record: attributes, timestamp, offset, key, value, no headers
            record = b"\0%b%b%b%b%b%b\0" % (
                after_first, varints(offset), varints(len(key)), key, varints(len(value)), value
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
        """Every record of the batch was acknowledged or has failed."""
        return all(part.is_done for part in self._parts) if self._parts else self.is_done

    def failures(self) -> list[BaseException]:
        """Once it has a result: why records failed, an error a record; the others were acknowledged."""
        if self._parts:
            return [part.exception for part in self._parts if part.failed()]
        _, _, error_of = self.produce_future.value
        return [error_of(index) for index in range(self.record_count)] if error_of else []

    def wait(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for a result, if only of a part."""
        if missing := [part for part in self._parts if not part.is_done]:
            with suppress(KafkaError):  # not there yet, or failed
                missing[0].get(timeout)
        elif not self._parts:
            self.produce_future.wait(timeout)

    @property
    def _record_futures(self) -> list[FutureRecordMetadata]:
        """A future for each record, which kafka-python asks for when it splits a batch that the broker finds too large.

        It rebinds them to the parts, so from then on they are what knows the result.
        """
        if not self._parts:
            nothing = None, None, -1, -1, -1  # timestamp, checksum and sizes, which nobody asks for
            indexes = range(self.record_count)
            self._parts = [FutureRecordMetadata(self.produce_future, index, *nothing) for index in indexes]
        return self._parts

    @_record_futures.setter
    def _record_futures(self, none_yet: list[FutureRecordMetadata]) -> None:
        """Called by the constructor of ProducerBatch."""


def append(producer: KafkaProducer, partition: TopicPartition, records: Sequence[tuple[bytes, bytes]]) -> list[Batch]:
    """Give (key, value) records of one partition to the producer, in order; the new batches that it took, if any.

    Called by one thread only, as it takes for granted that nobody else starts a batch. Raises KafkaError when the
    producer's transaction, if it has one, has failed.
    """
    if producer._transaction_manager and producer._transaction_manager.is_transactional():
        producer._transaction_manager.maybe_add_partition_to_transaction(partition)
    accumulator = producer._accumulator
    new = []
    with accumulator._tp_lock(partition):
        batches = accumulator._batches[partition]
        taken = batches[-1].extend(records) if batches and isinstance(batches[-1], Batch) else 0
        while taken < len(records):
            batch = Batch(partition, accumulator.config["compression_attrs"], accumulator.config["batch_size"])
            taken += batch.extend(records[taken:])
            batches.append(batch)
            accumulator._incomplete.add(batch)
            new.append(batch)
    if new:
        producer._sender.wakeup()
    return new
