"""Ten thousand fuzzed messages: each is rejected or in a window, and nothing stops."""

import base64

import fuzz
import pytest
import recompute
from kafka import KafkaProducer
from pipeline import RAW, REJECTED, Pipeline, poll_until

pytestmark = pytest.mark.timeout(900)


def test_ten_thousand_fuzzed_messages_are_rejected_or_in_windows(stack: Pipeline) -> None:
    before, messages = stack.closed(), fuzz.messages(10_000, seed=4)
    running = {name: pid for name, pid in stack.processes().items() if name != "sensorgenerator"}
    producer = KafkaProducer(bootstrap_servers=stack.kafka, compression_type="lz4", max_request_size=8 * 2**20)
    sent = [producer.send(RAW, key=b"%d" % (number % 50), value=value) for number, value in enumerate(messages)]
    for future in sent:
        future.get(timeout=60)
    producer.close()
    poll_until("all records read", lambda: stack.verify()["records"] == before["records"] + len(messages), 120)
    after = stack.closed(seconds=180)
    rejected, in_windows = (after[name] - before[name] for name in ("rejected", "in_windows"))
    assert rejected + in_windows == len(messages)
    assert min(rejected, in_windows) > 2000
    assert {name: pid for name, pid in stack.processes().items() if name != "sensorgenerator"} == running
    # Every rejected record is kept, byte by byte, with its place.
    raw = {(message.partition, message.offset): message.value for message in recompute.messages(stack.kafka, RAW)}
    kept = recompute.records(stack.kafka, REJECTED)
    assert len({(record["partition"], record["offset"]) for record in kept}) == len(kept) == after["rejected"]
    for record in kept:
        value = raw[record["partition"], record["offset"]]
        assert record["size"] == (None if value is None else len(value))
        original = None if record["value_base64"] is None else base64.b64decode(record["value_base64"])
        assert original == (value[: 1024 * 1024] if value is not None else None)
