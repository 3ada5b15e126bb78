"""What a run has sent, written to Kafka for the ledger."""

import json
import logging
import time
import uuid
from contextlib import suppress
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError
from service.state import utc_now

from generator.run import Report

WRITE_INTERVAL = 4  # seconds from one record to the next, at least
WAIT_FOR_KAFKA = 5  # seconds at the end

logger = logging.getLogger(__name__)


class RunLog:
    """Records of one run in the runs topic, of which the newest counts; schemas/sensor-data-runs.schema.json.

    The readings matter more than these records: a failure is only logged, at the end of the run.
    """

    def __init__(self, producer: KafkaProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        self._run = str(uuid.uuid4())
        self._started_at = utc_now()
        self._next = 0.0  # by the monotonic clock

    def update(self, report: Report) -> None:
        """Write how far the run is, unless it was written less than WRITE_INTERVAL seconds ago."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + WRITE_INTERVAL
            with suppress(KafkaError):
                self._write("sending", report)

    def close(self, state: str, report: Report) -> None:
        """Write how the run ended, and leave Kafka."""
        try:
            self._write(state, report).get(WAIT_FOR_KAFKA)
        except KafkaError as error:
            logger.warning("%s lacks the end of this run, which the ledger needs: %s", self._topic, error)
        self._producer.close(timeout=1)

    def _write(self, state: str, report: Report) -> Any:
        """Give a record to the producer; returns its future. Raises KafkaError."""
        record = {
            "run": self._run,
            "started_at": self._started_at,
            "written_at": utc_now(),
            "state": state,
            "sent": report.sent,
            "acknowledged": report.acknowledged,
            "failed": report.failed,
        }
        return self._producer.send(self._topic, key=self._run.encode(), value=json.dumps(record).encode())
