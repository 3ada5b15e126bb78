"""Settings of doctor.py, by the names of its constants."""

from dataclasses import dataclass
from pathlib import Path

from kafka_client import KafkaSettings
from service.druid import DruidSettings
from service.settings import optional_text, text


@dataclass(frozen=True, kw_only=True)
class Settings(KafkaSettings, DruidSettings):
    """What doctor.py documents; see service.settings.checked()."""

    kafka_transactional_id: str = optional_text()
    windows_job_state_file: str = text()

    @property
    def state_file(self) -> Path:
        return Path(self.windows_job_state_file)
