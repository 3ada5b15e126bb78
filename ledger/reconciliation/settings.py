"""Settings of verify.py, by the names of its constants."""

from dataclasses import dataclass

from kafka_client import KafkaSettings
from service.druid import DruidSettings
from service.settings import optional_text, seconds, whole_number


@dataclass(frozen=True, kw_only=True)
class Settings(KafkaSettings, DruidSettings):
    """What verify.py documents; see service.settings.checked()."""

    wait: float = seconds()
    result_file: str = optional_text()
    ledger_state_file: str = optional_text()
    full: int = whole_number(minimum=0)
