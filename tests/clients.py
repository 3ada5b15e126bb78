"""Producers that are not ours: what other people's clients send."""

import json
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Producer

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def reading(entity: int | str) -> bytes:
    """A valid reading of this moment, without what is optional."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": now, "entity": entity, "temp": 20.5, "humidity": 40.0}).encode()


def send(servers: str, topic: str, codec: str, records: list[tuple[str, bytes]]) -> None:
    """Send keys and values with librdkafka, batched, in the given codec. Fails when one isn't delivered in 30 s."""
    failed: list[Any] = []
    producer = Producer({"bootstrap.servers": servers, "compression.type": codec, "linger.ms": 200})
    for key, value in records:
        while len(producer) >= 50_000:  # its queue holds 100,000 records and refuses more
            producer.poll(0.1)
        producer.produce(topic, value, key, on_delivery=lambda error, _: failed.append(error) if error else None)
    left = producer.flush(30)
    assert not left and not failed, (left, failed[:1])


def send_every_codec(servers: str, topic: str) -> int:
    """Send 500 readings of vehicles 9001 to 9010 in each codec; their number."""
    for codec in CODECS:
        send(servers, topic, codec, [(str(entity), reading(entity)) for entity in range(9001, 9011) for _ in range(50)])
    return 500 * len(CODECS)
