"""Settings of the windows job: the constants of pyspark.py, or the environment variables that override them."""

from dataclasses import dataclass
from pathlib import Path

from service import settings


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What pyspark.py documents, by the same names."""

    kafka_bootstrap_servers: str = settings.servers()
    kafka_raw_topic: str = settings.text()
    kafka_aggregated_topic: str = settings.text()
    kafka_rejected_topic: str = settings.text()
    kafka_late_topic: str = settings.text()
    kafka_progress_topic: str = settings.text()
    kafka_control_topic: str = settings.text()
    spark_master: str = settings.text()
    spark_driver_memory: str = settings.text()
    trigger_interval: str = settings.duration("millisecond")
    max_offsets_per_trigger: int = settings.whole_number(minimum=1)
    fail_on_data_loss: bool = settings.boolean()
    shuffle_partitions: int = settings.whole_number(minimum=1)
    checkpoint_location: str = settings.text()
    windows_job_state_file: str = settings.text()
    watermark_duration: str = settings.duration()
    window_duration: str = settings.duration()

    @property
    def window_seconds(self) -> int:
        return settings.milliseconds(self.window_duration) // 1000

    @property
    def watermark_seconds(self) -> int:
        return settings.milliseconds(self.watermark_duration) // 1000

    @property
    def checkpoint(self) -> Path:
        return Path(self.checkpoint_location)

    @property
    def state_file(self) -> Path:
        return Path(self.windows_job_state_file)
