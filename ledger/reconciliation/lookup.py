"""How to look at what is wrong: a place in a topic, or a query for Druid."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from service.contract import Topic

from reconciliation.result import Place, Window


class Lookup:
    """Phrases that follow "see it", with the names of the topics and datasources."""

    def __init__(self, topics: Mapping[str, Topic], window_seconds: int) -> None:
        self._topic = {role: topic.name for role, topic in topics.items()}
        names = datasources(topics)
        self._raw, self._aggregated, self._rejected = (names[role] for role in ("raw", "aggregated", "rejected"))
        self._window_seconds = window_seconds

    def record(self, place: Place) -> str:
        return self.malformed(("raw", *place))

    def malformed(self, place: tuple[str, int, int]) -> str:
        role, partition, offset = place
        return f"at partition {partition}, offset {offset} of {self._topic[role]}"

    def rejected(self, place: Place) -> str:
        return f'with: SELECT * FROM "{self._rejected}" WHERE "partition" = {place[0]} AND "offset" = {place[1]}'

    def window(self, window: Window) -> str:
        start, entity = window
        time = f"TIMESTAMP '{moment(start)}'"
        return f'with: SELECT * FROM "{self._aggregated}" WHERE __time = {time} AND entity = {entity}'

    def readings(self, window: Window) -> str:
        start, entity = window
        return (
            f"with: SELECT * FROM \"{self._raw}\" WHERE entity = {entity} AND __time >= TIMESTAMP '{moment(start)}'"
            f" AND __time < TIMESTAMP '{moment(start + self._window_seconds * 1000)}'"
        )

    def duplicate_readings(self) -> str:
        return self._duplicates(self._raw, "entity, seq")

    def duplicate_windows(self) -> str:
        return self._duplicates(self._aggregated, "__time, entity")

    def duplicate_rejected(self) -> str:
        return self._duplicates(self._rejected, '"partition", "offset"')

    def window_counts(self) -> str:
        return f'with: SELECT __time, SUM("count") FROM "{self._aggregated}" GROUP BY 1'

    def _duplicates(self, datasource: str, columns: str) -> str:
        return f'with: SELECT {columns}, COUNT(*) AS n FROM "{datasource}" GROUP BY 1, 2 HAVING COUNT(*) > 1'


def datasources(topics: Mapping[str, Topic]) -> dict[str, str]:
    """The names of the datasources by the role of their topic."""
    return {role: topic.datasource.name for role, topic in topics.items() if topic.datasource}


def moment(milliseconds: int) -> str:
    """A time in UTC as in Druid's SQL."""
    return str(datetime(1970, 1, 1) + timedelta(milliseconds=milliseconds))
