"""Our fleet's records, sent by confluent-kafka (librdkafka, in C) with the same guarantees and every result checked."""

import os
import sys
import time
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer

sys.path.append(str(Path(__file__).resolve().parent.parent / "sensor-data-generator"))

from producer import now

from fleet import Fleet

duration, topic = float(os.environ["SCRIPT_DURATION"]), os.environ["KAFKA_TOPIC"]
fleet = Fleet(int(os.environ.get("NUM_ENTITIES", "200")))
producer = Producer(
    {
        "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "lz4",
        "linger.ms": 20,
        "batch.size": 128 * 1024,
        "partitioner": "murmur2",
        "queue.buffering.max.messages": 50_000,
    }
)
sent = acknowledged = failed = 0


def result(error: KafkaError | None, _message: Message) -> None:
    global acknowledged, failed
    if error:
        failed += 1
    else:
        acknowledged += 1


start = time.monotonic()
while time.monotonic() - start < duration:
    for key, value in fleet.records(now()):
        while True:
            try:
                producer.produce(topic, key=key, value=value, on_delivery=result)
                break
            except BufferError:
                producer.poll(0.01)
        sent += 1
    producer.poll(0)
producer.flush()
print(f"finished: {sent} sent, {acknowledged} acknowledged, {failed} failed")
