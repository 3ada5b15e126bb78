"""Settings of verify.py, by the names of its constants."""

from dataclasses import dataclass

from service.settings import optional_text, seconds, text


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What verify.py documents; see service.settings.checked()."""

    wait: float = seconds()
    result_file: str = optional_text()
    kafka_bootstrap_servers: str = text()
    druid_url: str = text()
