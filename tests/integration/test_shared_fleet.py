"""Generators that share a fleet: whoever comes, goes or is killed, no vehicle is sent by two, and none is forgotten."""

import json
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from kafka.record.memory_records import MemoryRecords
from pipeline import poll_until
from processes import Start
from repository import ROOT

pytestmark = pytest.mark.timeout(300)
VEHICLES, INTERVAL = 30, 0.25
LONGEST_GAP = 10  # seconds, as sensor-data-generator/README.md says
RAW = "sensor-data-raw"

Running = subprocess.Popen[bytes]


class Sent(NamedTuple):
    producer: int  # the id that Kafka gave to it; a generator has a new one for each share
    entity: int
    seq: int
    time: float  # seconds since the epoch


def sent(folder: Path) -> Iterator[Sent]:
    """The readings in the log of the raw topic, as the broker has stored them; of each vehicle in order."""
    for path in sorted(folder.glob(f"{RAW}-*/*.log")):
        batches = MemoryRecords(path.read_bytes())
        while batch := batches.next_batch():
            for record in batch:
                reading = json.loads(record.value)
                taken_at = datetime.fromisoformat(reading["time"]).timestamp()
                yield Sent(batch.producer_id, reading["entity"], reading["seq"], taken_at)


@pytest.fixture
def log(kafka: str, start: Start, tmp_path: Path) -> Path:
    """The folder of a broker's log, with the topics."""
    topics = start("topics", sys.executable, str(ROOT / "kafka/create_topics.py"), KAFKA_BOOTSTRAP_SERVERS=kafka)
    assert topics.wait(timeout=120) == 0
    return tmp_path / "kafka"


def test_no_vehicle_is_sent_twice_or_forgotten_while_generators_come_go_and_are_killed(
    log: Path, kafka: str, start: Start, tmp_path: Path
) -> None:
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "NUM_ENTITIES": str(VEHICLES),
        "SENSOR_INTERVAL": str(INTERVAL),
        "SCRIPT_DURATION": "3600",
        "GENERATOR_STATE_FILE": str(tmp_path / "state/generator.json"),  # of all, as in a shared volume
    }

    def generator(name: str, **changed: str) -> Running:
        return start(name, sys.executable, str(ROOT / "sensor-data-generator/producer.py"), **settings | changed)

    def all_send(shares: int) -> None:
        """Every vehicle is sent, now, by as many producers, of which each has a share."""
        poll_until(f"{shares} producers", lambda: current_shares(log) == shares, 30)

    first = generator("first")
    all_send(1)
    time.sleep(2)
    assert "shared anew" not in (tmp_path / "first.log").read_text()  # there is nobody else
    second = generator("second", NUM_PROCESSES="2")  # a producer each
    all_send(3)
    third = generator("third")
    all_send(4)
    second.send_signal(signal.SIGKILL)
    second.wait()
    second = generator("second")
    all_send(3)
    third.send_signal(signal.SIGKILL)
    first.send_signal(signal.SIGTERM)  # while the third one is dead
    third.wait()
    third = generator("third")
    all_send(2)
    for each in (second, third):
        each.send_signal(signal.SIGTERM)
        assert each.wait(timeout=30) == 0
    assert first.wait(timeout=30) == 0

    by_vehicle = defaultdict(list)
    for reading in sent(log):
        by_vehicle[reading.entity].append(reading)
    assert by_vehicle.keys() == {*range(1, VEHICLES + 1)}
    for entity, readings in by_vehicle.items():
        assert [reading.seq for reading in readings] == [*range(1, len(readings) + 1)], entity
        producers = [reading.producer for reading in readings]
        changes = sum(before != after for before, after in pairwise(producers))
        assert changes + 1 == len(set(producers)), f"vehicle {entity} went back to a producer that it had left"
        times = [reading.time for reading in readings]
        assert max(after - before for before, after in pairwise(times)) < LONGEST_GAP, entity
    states = {path.name for path in (tmp_path / "state").glob("*.json")}
    assert states == {"generator.json", "generator-2.json", "generator-3.json"}


def current_shares(log: Path) -> int:
    """The producers of the last second, 0 unless every vehicle has been sent, by one of them."""
    readings = list(sent(log))
    newest = max((reading.time for reading in readings), default=0)
    last = {(reading.producer, reading.entity) for reading in readings if reading.time > newest - 1}
    return len({producer for producer, _ in last}) if len(last) == VEHICLES else 0
