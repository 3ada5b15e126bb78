"""Settings of register.py, by the names of its constants."""

from dataclasses import dataclass

from service.settings import text


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What register.py documents; see service.settings.checked()."""

    kafka_bootstrap_servers: str = text()
    druid_url: str = text()
