"""Producers that are not ours: what other people's clients send."""

import json
import time
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Producer

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def reading(entity: int | str, seq: int, **more: Any) -> bytes:
    """A valid reading of this moment."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": now, "entity": entity, "temp": 20.5, "humidity": 40.0, "seq": seq, **more}).encode()


def send(servers: str, topic: str, codec: str, values: list[bytes], key: str = "") -> None:
    """Send the values in one batch of librdkafka, in the given codec. Fails when one isn't delivered in 30 s."""
    failed: list[Any] = []
    producer = Producer({"bootstrap.servers": servers, "compression.type": codec, "linger.ms": 500})
    for value in values:
        producer.produce(
            topic, value, key or None, on_delivery=lambda error, _: failed.append(error) if error else None
        )
    left = producer.flush(30)
    assert not left and not failed, (left, failed[:1])


def send_every_codec(servers: str, topic: str) -> int:
    """Send 500 readings of vehicles 901 to 910 in each codec; their number."""
    for codec in CODECS:
        first = int(time.time() * 1000)
        for entity in range(901, 911):
            send(servers, topic, codec, [reading(entity, first + n) for n in range(50)], str(entity))
    return 500 * len(CODECS)
