"""Settings of the windows job: the constants of pyspark.py, or the environment variables that override them."""

import re
from dataclasses import dataclass
from pathlib import Path

from kafka_client import KafkaSettings
from service import settings


@dataclass(frozen=True, kw_only=True)
class Settings(KafkaSettings):
    """What pyspark.py documents, by the same names."""

    kafka_raw_topic: str = settings.text()
    kafka_aggregated_topic: str = settings.text()
    kafka_rejected_topic: str = settings.text()
    kafka_late_topic: str = settings.text()
    kafka_progress_topic: str = settings.text()
    kafka_control_topic: str = settings.text()
    kafka_transactional_id: str = settings.optional_text()
    kafka_group_id: str = settings.text()
    spark_master: str = settings.text()
    spark_driver_memory: str = settings.text()
    spark_conf_dir: str = settings.optional_text()
    trigger_interval: str = settings.duration("millisecond")
    max_offsets_per_trigger: int = settings.whole_number(minimum=1)
    fail_on_data_loss: bool = settings.boolean()
    shuffle_partitions: int = settings.whole_number(minimum=1)
    checkpoint_location: str = settings.text()
    windows_job_state_file: str = settings.text()
    watermark_duration: str = settings.duration()
    window_duration: str = settings.duration()

    @property
    def transactional_id(self) -> str:
        return self.kafka_transactional_id or f"{self.kafka_progress_topic}-windows-job"

    @property
    def window_seconds(self) -> int:
        return settings.milliseconds(self.window_duration) // 1000

    @property
    def watermark_seconds(self) -> int:
        return settings.milliseconds(self.watermark_duration) // 1000

    @property
    def checkpoint_url(self) -> str:
        """The checkpoint's folder as a URL without escapes, as Hadoop takes it.

        A path without a scheme is on this disk, whatever Hadoop's default is.
        """
        location = self.checkpoint_location
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", location):
            return location.rstrip("/")
        return f"file://{Path(location).resolve()}"

    @property
    def state_file(self) -> Path:
        return Path(self.windows_job_state_file)
