"""How far the data has come: readings in Kafka, the windows job, rows in Druid."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from service import contract, state
from service.settings import checked

from local_stack.druid import Druid, without_login
from local_stack.errors import Unhealthy
from local_stack.kafka import Kafka
from local_stack.settings import in_force, kafka_client


@dataclass(frozen=True)
class Pipeline:
    """Where the data is. Its methods raise Unhealthy when Kafka, Druid or the windows job doesn't answer."""

    kafka: Kafka
    druid: Druid
    topics: Mapping[str, contract.Topic]  # by role
    job_state_file: Path

    @property
    def raw_topic(self) -> str:
        return self.topics["raw"].name

    @property
    def datasources(self) -> dict[str, str]:
        """The names of the datasources, by the role of their topic."""
        return {role: topic.datasource.name for role, topic in self.topics.items() if topic.datasource}

    def rows(self, role: str) -> int:
        """The rows in the datasource of a topic; 0 also when Druid doesn't answer."""
        return self.druid.rows(self.datasources[role])

    def job_state(self) -> dict[str, Any]:
        """The windows job's state file."""
        try:
            return state.read(self.job_state_file)
        except (OSError, ValueError) as error:
            raise Unhealthy("the windows job has not written its state yet") from error

    def job_lag(self, job: Mapping[str, Any]) -> int:
        """Offsets of the raw topic that the windows job, whose state is `job`, has not read yet."""
        read = (job.get("offsets") or {}).get(self.raw_topic)
        first, end = self.kafka.offsets(self.raw_topic)
        return end - sum(read.values()) if read else end - first

    def job_totals(self) -> dict[str, int] | None:
        """What the job has read and written when nothing is under way; None while something is.

        The sums of records, windows, rejected and late, by these names. A last batch follows when the watermark has
        moved.
        """
        job = self.job_state()
        if self.job_lag(job) or _milliseconds(job.get("watermark")) < _milliseconds(job.get("next_watermark")):
            return None
        return dict(job.get("totals") or dict.fromkeys(("records", "windows", "rejected", "late"), 0))

    def open_windows(self) -> int:
        """The windows, per vehicle, of the readings in Druid that the watermark has not closed yet."""
        job = self.job_state()
        length = job["window_seconds"] * 1000
        # A window is closed when the watermark has passed its end: its readings are older than this.
        closed_before = _milliseconds(job.get("watermark")) // length * length
        time = "TIMESTAMP_TO_MILLIS(__time)"
        raw = self.datasources["raw"]
        windows = f'SELECT 1 FROM "{raw}" WHERE {time} >= {closed_before} GROUP BY {time} / {length}, entity'
        return self.druid.number(f"SELECT COUNT(*) AS n FROM ({windows})")

    def closing_seconds(self) -> int:
        """Seconds after the last reading until the job has closed all windows by itself (pyspark/windows_job/idle.py).

        A reading's time may be ahead of the clock by as much as the schema allows; 5 seconds are for the job's work.
        """
        job = self.job_state()
        ahead = self.topics["raw"].schema["properties"]["time"]["x-seconds-ahead"]
        return int(job["window_seconds"] + job["watermark_seconds"] + ahead + 5)


def pipeline(environment: Mapping[str, str]) -> Pipeline:
    """The pipeline at the addresses that the environment, or else this mode, sets. Raises NotAllowed, BadSetting."""
    settings = in_force(environment)
    return Pipeline(
        Kafka(kafka_client(settings)),
        Druid(checked(without_login(settings["DRUID_URL"]), settings)),
        contract.topics(settings),
        Path(settings["WINDOWS_JOB_STATE_FILE"]),
    )


def _milliseconds(iso: str | None) -> int:
    """Milliseconds since the epoch of an ISO 8601 time; 0 where there is none."""
    return int(datetime.fromisoformat(iso).timestamp() * 1000) if iso else 0
