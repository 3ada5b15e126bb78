"""Our fleet's records, sent by confluent-kafka (librdkafka, in C) with the same guarantees and every result checked.

case_producer.py runs it with sensor-data-generator/ in PYTHONPATH.
"""

import os
import time
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer
from generator.fleet import Fleet
from service import state

duration, topic = float(os.environ["SCRIPT_DURATION"]), os.environ["KAFKA_RAW_TOPIC"]
fleet = Fleet(int(os.environ["NUM_ENTITIES"]))
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
sent = 0
results = {"acknowledged": 0, "failed": 0}


def on_delivery(error: KafkaError | None, _message: Message) -> None:
    results["failed" if error else "acknowledged"] += 1


start = time.monotonic()
while time.monotonic() - start < duration:
    for key, value in fleet.records(state.utc_now()):
        while True:
            try:
                producer.produce(topic, key=key, value=value, on_delivery=on_delivery)
                break
            except BufferError:
                producer.poll(0.01)
        sent += 1
    producer.poll(0)
producer.flush()
state.write(Path(os.environ["GENERATOR_STATE_FILE"]), {"state": "finished", "run": {"sent": sent, **results}})
