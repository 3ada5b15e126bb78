"""The way of the original project's generator, rewritten: json.dumps, and a flush for every record."""

import json
import os
import random
import time
from datetime import UTC, datetime
from pathlib import Path

from faker import Faker
from kafka import KafkaProducer
from service import state

vehicles = int(os.environ["NUM_ENTITIES"])
duration = float(os.environ["SCRIPT_DURATION"])
topic = os.environ["KAFKA_RAW_TOPIC"]

faker = Faker()
faker.seed_instance(0)
vins = [faker.vin() for _ in range(vehicles)]
producer = KafkaProducer(
    bootstrap_servers=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
    key_serializer=lambda key: str(key).encode(),
    value_serializer=lambda value: json.dumps(value).encode(),
)
producer.partitions_for(topic)
start, sent = time.monotonic(), 0
while time.monotonic() - start < duration:
    entity = sent % vehicles + 1
    reading = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "entity": entity,
        "temp": round(random.gauss(20, 1), 2),
        "humidity": round(random.gauss(35, 5), 2),
        "seq": sent // vehicles + 1,
        "vin": vins[entity - 1],
    }
    producer.send(topic, key=entity, value=reading)
    producer.flush()
    sent += 1
producer.close()
counts = {"sent": sent, "acknowledged": sent, "failed": 0}
state.write(Path(os.environ["GENERATOR_STATE_FILE"]), {"state": "finished", "run": counts})
