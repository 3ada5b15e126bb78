"""What the SQL of the datasets in assets/ can name: the newest rows of a Druid datasource, with the contract's columns.

Druid has no table for a datasource without rows and no column that never had a value. A query that names one of these
fails, but a chart should be empty.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from service.contract import Topic, topics
from service.druid import DruidError, NoAnswer, NotReachable, Router

TIMEOUT = 30  # seconds for an answer
RAW = "raw"
TYPES = {"string": "VARCHAR", "number": "DOUBLE", "integer": "BIGINT"}  # the first that a field of a schema allows
TIME = "__time"


class Seen(Protocol):
    """What there is in Druid."""

    def columns(self, datasource: str) -> set[str]:
        """The names of its columns; none if Druid doesn't know it."""

    def newest(self, datasource: str) -> datetime:
        """The newest time in a datasource that Druid knows."""


class InDruid:
    """What there is in the Druid behind a router. Raises DruidError."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def columns(self, datasource: str) -> set[str]:
        where = f"TABLE_SCHEMA = 'druid' AND TABLE_NAME = '{datasource}'"
        rows = self._sql(f'SELECT COLUMN_NAME AS "name" FROM INFORMATION_SCHEMA.COLUMNS WHERE {where}')
        return {row["name"] for row in rows}

    def newest(self, datasource: str) -> datetime:
        [row] = self._sql(f'SELECT MAX("{TIME}") AS "newest" FROM "{datasource}"')
        return datetime.fromisoformat(row["newest"].replace("Z", "+00:00"))  # Python 3.10 knows no Z

    def _sql(self, query: str) -> list[dict[str, Any]]:
        # With this context, MAX(__time) takes the same time for any number of rows.
        request = {"query": query, "context": {"enableTimeBoundaryPlanning": True}}
        try:
            response = self._router.request("POST", "/druid/v2/sql", TIMEOUT, json=request)
        except (NotReachable, NoAnswer) as error:
            raise DruidError(f"Druid does not answer at {self._router.url}: {error}.") from error
        if not response.ok:
            raise DruidError(f"Druid's answer to {query} is {response.status_code}: {response.text}")
        return list(response.json())


def recent(seen: Seen) -> Callable[..., str]:
    """The macro recent() of the datasets' SQL."""
    contract = {topic.datasource.name: topic for topic in topics().values() if topic.datasource}
    readings = next(name for name, topic in contract.items() if topic.role == RAW)

    def recent(*datasources: str, minutes: float = 15) -> str:
        """A subquery for the rows of datasources since `minutes` before the newest reading."""
        there = {name: found for name in datasources if (found := seen.columns(name))}
        expected = {column: null for name in datasources for column, null in columns(contract[name]).items()}
        known = set[str]().union(*there.values())
        select = ", ".join(f'"{name}"' if name in known else f'{null} AS "{name}"' for name, null in expected.items())
        if not there:
            return f"(SELECT {select} FROM (VALUES (0)) AS t(x) WHERE x = 1)"
        # Druid plans UNION ALL for simple tables only; APPEND() takes datasources with different columns.
        names = ", ".join(f"'{name}'" for name in there)
        table = f'"{min(there)}"' if len(there) == 1 else f"TABLE(APPEND({names}))"
        if not seen.columns(readings):
            return f"(SELECT {select} FROM {table})"
        since = seen.newest(readings) - timedelta(minutes=minutes)
        return f"""(SELECT {select} FROM {table} WHERE "{TIME}" > TIMESTAMP '{since:%Y-%m-%d %H:%M:%S}')"""

    return recent


def columns(topic: Topic) -> dict[str, str]:
    """The columns of a topic's datasource, each with SQL for a missing value."""
    assert topic.datasource
    fields = {name: field for name, field in topic.schema["properties"].items() if name != topic.datasource.timestamp}
    return {TIME: "CURRENT_TIMESTAMP", **{name: f"CAST(NULL AS {_type(field)})" for name, field in fields.items()}}


def _type(field: Mapping[str, Any]) -> str:
    given = field.get("type") or field["x-type"]
    types = given if isinstance(given, list) else [given]
    return next(TYPES[each] for each in TYPES if each in types)
