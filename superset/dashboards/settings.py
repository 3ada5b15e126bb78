"""Settings of dashboard.py, by the names of its constants."""

from dataclasses import dataclass
from pathlib import Path

from service.druid import DruidSettings
from service.settings import text, whole_number

USER = "admin"


@dataclass(frozen=True, kw_only=True)
class Settings(DruidSettings):
    """What dashboard.py documents; see service.settings.checked()."""

    dashboard_host: str = text()
    dashboard_port: int = whole_number(1)
    dashboard_folder: str = text()

    @property
    def folder(self) -> Path:
        return Path(self.dashboard_folder)
