"""How to look at what is wrong: a place in a topic, or a query for Druid."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from service.contract import Topic

from reconciliation.result import Place, Window


class Lookup:
    """Phrases that follow "see it", with the names of the topics and datasources."""

    def __init__(self, topics: Mapping[str, Topic]) -> None:
        self._topic = {role: topic.name for role, topic in topics.items()}
        self._datasource = datasources(topics)

    def record(self, place: Place) -> str:
        return self.malformed(("raw", *place))

    def malformed(self, place: tuple[str, int, int]) -> str:
        role, partition, offset = place
        return f"at partition {partition}, offset {offset} of {self._topic[role]}"

    def topic(self, role: str) -> str:
        return f"in {self._topic[role]}"

    def rejected(self, place: Place) -> str:
        return self._placed("rejected", place)

    def late(self, place: Place) -> str:
        return self._placed("late", place)

    def _placed(self, role: str, place: Place) -> str:
        partition, offset = place
        return f'with: SELECT * FROM "{self._datasource[role]}" WHERE "partition" = {partition} AND "offset" = {offset}'

    def window(self, window: Window) -> str:
        where = f"__time = TIMESTAMP '{moment(window.start)}' AND entity = {_literal(window.entity)}"
        return f'with: SELECT * FROM "{self._datasource["aggregated"]}" WHERE {where}'

    def readings(self, window: Window) -> str:
        return (
            f'with: SELECT * FROM "{self._datasource["raw"]}" WHERE entity = {_literal(window.entity)}'
            f" AND __time >= TIMESTAMP '{moment(window.start)}' AND __time < TIMESTAMP '{moment(window.end)}'"
        )

    def duplicate_readings(self) -> str:
        return self._duplicates("raw", "entity", "seq")

    def duplicate_windows(self) -> str:
        return self._duplicates("aggregated", "__time", "window_end", "entity")

    def duplicate_places(self, role: str) -> str:
        return self._duplicates(role, '"partition"', '"offset"')

    def window_counts(self) -> str:
        return f'with: SELECT __time, SUM("count") FROM "{self._datasource["aggregated"]}" GROUP BY 1'

    def _duplicates(self, role: str, *columns: str) -> str:
        groups = ", ".join(str(number) for number in range(1, len(columns) + 1))
        query = f'SELECT {", ".join(columns)}, COUNT(*) AS n FROM "{self._datasource[role]}"'
        return f"with: {query} GROUP BY {groups} HAVING COUNT(*) > 1"


def datasources(topics: Mapping[str, Topic]) -> dict[str, str]:
    """The names of the datasources by the role of their topic."""
    return {role: topic.datasource.name for role, topic in topics.items() if topic.datasource}


def moment(milliseconds: int) -> str:
    """A time in UTC as in Druid's SQL."""
    return str(datetime(1970, 1, 1) + timedelta(milliseconds=milliseconds))


def shown(entity: str) -> str:
    """A vehicle for people: anyone may send a text with line ends or a terminal's control characters."""
    return entity if entity.isprintable() else ascii(entity)


def _literal(entity: str) -> str:
    """A vehicle as a literal of SQL."""
    if entity.isascii() and entity.isprintable():
        return "'" + entity.replace("'", "''") + "'"
    escaped = "".join(c if c.isascii() and c.isprintable() and c not in "'\\" else _escape(c) for c in entity)
    return f"U&'{escaped}'"


def _escape(character: str) -> str:
    """A character in UTF-16, as in U&'...'."""
    code = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\{code[at : at + 4]}" for at in range(0, len(code), 4))
