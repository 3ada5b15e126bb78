"""Destructive: hundreds of megabytes of random bytes in records of a megabyte; then all data is removed again."""

import os
from collections.abc import Iterator

import pytest
from kafka import KafkaProducer
from pipeline import RAW, Pipeline, poll_until

pytestmark = pytest.mark.timeout(700)  # less than most, so that it comes late: the next file starts without data
NUMBER = 300


@pytest.fixture
def emptied(stack: Pipeline) -> Iterator[Pipeline]:
    """The ledger of the files after this one would read all of it again, each time."""
    yield stack
    stack.started("reset")


def test_large_records_are_rejected_in_bounded_memory(emptied: Pipeline) -> None:
    stack = emptied
    before, job = stack.closed(), stack.processes()["pyspark"]
    producer = KafkaProducer(bootstrap_servers=stack.kafka, max_request_size=2 * 2**20, acks=1)
    for sent in range(NUMBER):
        producer.send(RAW, os.urandom(1_000_000))
        if sent % 20 == 0:
            producer.flush()
    producer.close()

    def rejected() -> bool:
        figures = stack.verify(300)
        return figures["rejected"] - before["rejected"] == NUMBER == figures["records"] - before["records"]

    poll_until("all to be rejected", rejected, 300)
    assert stack.processes()["pyspark"] == job  # it did not run out of memory and start again
