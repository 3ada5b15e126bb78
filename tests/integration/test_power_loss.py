"""A power loss: Kafka's log is older than the checkpoint. The job's next start names that, and emits nothing."""

import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from pipeline import poll_until
from processes import Broker, Start
from repository import ROOT

pytestmark = pytest.mark.timeout(600)


def send(kafka: str, number: int) -> None:
    reading = {"time": datetime.now(UTC).isoformat(), "entity": "truck-904", "temp": 20.5, "humidity": 40}
    with KafkaProducer(bootstrap_servers=kafka, bootstrap_timeout_ms=120_000) as producer:
        for _ in range(number):
            producer.send("sensor-data-raw", json.dumps(reading).encode())


def test_a_log_that_is_older_than_the_checkpoint_is_named_and_the_newer_one_is_accepted(
    broker: Broker, start: Start, tmp_path: Path
) -> None:
    state_file = tmp_path / "windows-job.json"
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": broker.address,
        "SPARK_MASTER": "local[1]",
        "CHECKPOINT_LOCATION": str(tmp_path / "checkpoint"),
        "WINDOWS_JOB_STATE_FILE": str(state_file),
    }
    job = [sys.executable, str(ROOT / "pyspark/pyspark.py")]

    def records() -> int:
        totals: dict[str, Any] | None = json.loads(state_file.read_text())["totals"] if state_file.exists() else None
        return int(totals["records"]) if totals else 0

    def reads(number: int) -> None:
        """The job starts, has read as many records in all, and ends."""
        running = start("job", *job, **settings)

        def done() -> bool:
            assert running.poll() is None, (tmp_path / "job.log").read_text()[-3000:]
            return records() == number

        poll_until(f"{number} records", done, 120)
        running.terminate()
        assert running.wait(timeout=60) == 0

    topics = [sys.executable, str(ROOT / "kafka/create_topics.py")]
    assert start("topics", *topics, **settings).wait(timeout=120) == 0
    send(broker.address, 10)
    reads(10)
    broker.stop()
    older, newer = tmp_path / "older", tmp_path / "newer"
    shutil.copytree(broker.log, older)
    broker.start()
    send(broker.address, 5)
    reads(15)

    broker.stop()
    broker.log.rename(newer)
    older.rename(broker.log)
    broker.start()
    refused: subprocess.Popen[bytes] = start("refused", *job, **settings)
    assert refused.wait(timeout=120) == 2
    said = (tmp_path / "refused.log").read_text()
    assert re.search(
        r"Kafka's log is older than its counterpart: Kafka's last batch is \d+, the checkpoint's \d+", said
    )
    assert said.count("`make reset`") == 1

    broker.stop()
    shutil.rmtree(broker.log)
    newer.rename(broker.log)
    broker.start()
    send(broker.address, 1)
    reads(16)
