"""Druid's row counts."""

from collections.abc import Iterator, Mapping
from typing import Any

from service.contract import Topic
from service.druid import Denied, DruidError, DruidSettings, Router
from service.state import iso_time

from reconciliation.lookup import datasources
from reconciliation.result import Cut, Place, Rows

QUERY_TIMEOUT = 60  # seconds for an answer of Druid
# Groups of a query. Druid keeps them in a buffer (druid.processing.buffer.sizeBytes) and refuses what doesn't fit. The
# 16 MiB of this stack are enough for about 400,000 windows.
MOST_GROUPS = 100_000


class Druid:
    """Druid's SQL API, by its router. The constructor raises BadSetting."""

    def __init__(self, settings: DruidSettings) -> None:
        self._router = Router(settings)

    def check_login(self) -> None:
        """Raises Denied if Druid doesn't accept the user; whether it answers at all is seen later."""
        try:
            self.sql("SELECT 1")
        except Denied:
            raise
        except DruidError:
            pass

    def rows(self, topics: Mapping[str, Topic], cut: Cut) -> Rows:
        """What the datasources of the topics hold up to `cut`, and all readings. Raises DruidError."""
        names = datasources(topics)
        raw, aggregated = names["raw"], f"\"{names['aggregated']}\" WHERE window_end <= '{_iso(cut.watermark)}'"
        boundary = f"__time >= MILLIS_TO_TIMESTAMP({cut.boundary})"
        readings = self.row(f'SELECT COUNT(*) AS n, COUNT(*) FILTER (WHERE {boundary}) AS recent FROM "{raw}"')
        range_of = 'TIMESTAMP_TO_MILLIS(MIN(__time)) AS "first", TIMESTAMP_TO_MILLIS(MAX(__time)) AS "last"'
        windows = self.row(f'SELECT COUNT(*) AS n, SUM("count") AS counted, {range_of} FROM {aggregated}')
        number, duplicates = windows.get("n", 0), 0
        if number:
            duplicates = self._duplicates(aggregated, number, int(windows["first"]), int(windows["last"]) + 1)
        return Rows(
            readings=readings.get("n", 0),
            recent_readings=readings.get("recent", 0),
            windows=number,
            readings_in_windows=windows.get("counted") or 0,
            late=self._placed(names["late"], cut.offsets),
            rejected=self._placed(names["rejected"], cut.offsets),
            duplicate_windows=duplicates,
        )

    def rejected(self, topics: Mapping[str, Topic], first: Mapping[int, int], cut: Cut) -> Iterator[tuple[Place, str]]:
        """The rejected records of these offsets of the raw topic, and their reasons. Raises DruidError."""
        name = datasources(topics)["rejected"]
        for partition, end in cut.offsets.items():
            place = f'"partition" = {partition} AND "offset" >= {first.get(partition, 0)} AND "offset" < {end}'
            for row in self.sql(f'SELECT "offset" AS o, reason FROM "{name}" WHERE {place}'):
                yield (partition, int(row["o"])), str(row["reason"])

    def _duplicates(self, aggregated: str, number: int, first: int, end: int) -> int:
        """Windows with more than one row, of the `number` rows that start at `first` or later and before `end` (ms)."""
        if number > MOST_GROUPS and end - first > 1:
            middle = (first + end) // 2
            half = self.row(f"SELECT COUNT(*) AS n FROM {aggregated} AND {_between(first, middle)}").get("n", 0)
            earlier, later = (half, first, middle), (number - half, middle, end)
            return self._duplicates(aggregated, *earlier) + self._duplicates(aggregated, *later)
        if number < 2:
            return 0
        rows = f"{aggregated} AND {_between(first, end)} GROUP BY 1, 2, 3 HAVING COUNT(*) > 1"
        return int(self.row(f"SELECT COUNT(*) AS n FROM (SELECT __time, window_end, entity FROM {rows})").get("n", 0))

    def _placed(self, datasource: str, offsets: Mapping[int, int]) -> int:
        """Rows of records of the raw topic below these offsets."""
        places = [f'("partition" = {partition} AND "offset" < {end})' for partition, end in offsets.items()]
        if not places:
            return 0
        return int(self.row(f'SELECT COUNT(*) AS n FROM "{datasource}" WHERE {" OR ".join(places)}').get("n", 0))

    def row(self, query: str) -> dict[str, Any]:
        """The only row of an answer; empty while Druid doesn't know the datasource yet. Raises DruidError."""
        rows = self.sql(query)
        return rows[0] if rows else {}

    def sql(self, query: str) -> list[dict[str, Any]]:
        """The rows of an answer, with exact counts; none while Druid doesn't know the datasource yet.

        Raises DruidError.
        """
        request = {"query": query, "context": {"useApproximateCountDistinct": False}}
        try:
            response = self._router.request("POST", "/druid/v2/sql", QUERY_TIMEOUT, json=request)
        except Denied:
            raise
        except DruidError as error:
            raise DruidError(f"Druid does not answer at {self._router.url} ({error}): check DRUID_URL") from error
        try:
            # Nor does Druid know a column before a task has announced it.
            if response.status_code == 400 and "not found" in response.text:
                return []
            if not response.ok:
                raise DruidError(f"Druid answered {response.status_code} to {query}: {response.text.strip()[:200]}")
            return [dict(row) for row in response.json()]
        except (ValueError, LookupError, TypeError) as error:
            raise DruidError(f"the answer of Druid at {self._router.url} to {query} is not a list of rows") from error


def _iso(milliseconds: int) -> str:
    return iso_time(milliseconds / 1000)


def _between(first: int, end: int) -> str:
    return f"__time >= MILLIS_TO_TIMESTAMP({first}) AND __time < MILLIS_TO_TIMESTAMP({end})"
