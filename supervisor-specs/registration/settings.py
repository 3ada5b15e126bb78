"""Settings of register.py, by the names of its constants."""

from dataclasses import dataclass

from kafka_client import KafkaSettings
from service.druid import DruidSettings
from service.settings import whole_number


@dataclass(frozen=True, kw_only=True)
class Settings(KafkaSettings, DruidSettings):
    """What register.py documents; see service.settings.checked()."""

    druid_task_count: int = whole_number(minimum=0)
    druid_replicas: int = whole_number(minimum=0)
