"""Settings of the generator: the constants of producer.py, or the environment variables that override them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kafka_client import KafkaSettings
from service import settings

from generator.faults import Shares


@dataclass(frozen=True, kw_only=True)
class Settings(KafkaSettings):
    """What producer.py documents, by the same names."""

    num_entities: int = settings.whole_number(minimum=1)
    sensor_interval: float = settings.seconds()
    script_duration: float = settings.seconds()
    history: str = settings.duration(optional=True)
    kafka_raw_topic: str = settings.text()
    kafka_runs_topic: str = settings.text()
    kafka_progress_topic: str = settings.text()
    kafka_generator_group_id: str = settings.text()
    max_in_flight: int = settings.whole_number(minimum=1)
    num_processes: int = settings.whole_number(minimum=1)
    late_share: float = settings.share()
    out_of_order_share: float = settings.share()
    duplicate_share: float = settings.share()
    malformed_share: float = settings.share()
    late_by: float = settings.seconds()
    out_of_order_by: float = settings.seconds()
    fault_seed: int = settings.whole_number(minimum=0)
    replay_file: str = settings.optional_text()
    replay_map: str = settings.optional_text()
    replay_times: str = settings.one_of("original", "ends now", "starts now")
    replay_speed: float = settings.speed()
    replay_loop: bool = settings.boolean()
    replay_dry_run: bool = settings.boolean()
    generator_state_file: str = settings.text()

    @property
    def shares(self) -> Shares:
        return Shares(self.late_share, self.out_of_order_share, self.duplicate_share, self.malformed_share)

    @property
    def history_seconds(self) -> float:
        """0 without a history."""
        return settings.milliseconds(self.history) / 1000 if self.history else 0

    @property
    def processes(self) -> int:
        """The number of processes to run: each has at least one vehicle."""
        return min(self.num_entities, self.num_processes)

    @property
    def state_file(self) -> Path:
        return Path(self.generator_state_file)


def checked(constants: Settings, environment: Mapping[str, str]) -> Settings:
    """The constants with what `environment` overrides. Raises BadSetting for values that are not allowed."""
    result = settings.checked(constants, environment)
    total = math.fsum(result.shares)
    if total > 1:
        names = ", ".join(f"{name.upper()}_SHARE" for name in Shares._fields)
        raise settings.BadSetting(f"{names} together are {total:g}: they must be 1 or less.")
    if result.history and not result.sensor_interval:
        raise settings.BadSetting("SENSOR_INTERVAL is 0: with HISTORY, it must be above 0.")
    if result.history and result.processes > 1:
        raise settings.BadSetting(
            f"NUM_PROCESSES is {result.num_processes}: with HISTORY, it must be 1, as one process sends the history."
        )
    return result
