"""What the tests of the generator's runs share: a clock that moves only while somebody waits, and settings."""

from typing import Any

import producer
from generator.settings import Settings


class Clock:
    """Stands in for the module time."""

    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def settings(**changes: Any) -> Settings:
    """The constants of producer.py with `changes`."""
    values = {name: getattr(producer, name) for name in Settings.__dataclass_fields__}
    return Settings(**{**values, **changes})
