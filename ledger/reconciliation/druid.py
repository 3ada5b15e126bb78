"""Druid's row counts."""

from collections.abc import Mapping
from typing import Any

import requests
from service.contract import Topic

from reconciliation.lookup import datasources
from reconciliation.result import Rows

QUERY_TIMEOUT = 60  # seconds for an answer of Druid


class DruidError(Exception):
    """Druid doesn't answer as expected; the text says what it did instead."""


class Druid:
    """Druid's SQL API at `url`, the address of the router."""

    def __init__(self, url: str) -> None:
        self._url = url

    def rows(self, topics: Mapping[str, Topic]) -> Rows:
        """What the datasources of the topics hold. Raises DruidError."""
        names = datasources(topics)
        raw, aggregated, rejected = (names[role] for role in ("raw", "aggregated", "rejected"))
        windows = self.sql(f'SELECT COUNT(*) AS n, SUM("count") AS counted FROM "{aggregated}"')
        duplicates = f'SELECT __time, entity FROM "{aggregated}" GROUP BY 1, 2 HAVING COUNT(*) > 1'
        return Rows(
            readings=self.sql(f'SELECT COUNT(*) AS n FROM "{raw}"').get("n", 0),
            windows=windows.get("n", 0),
            readings_in_windows=windows.get("counted") or 0,
            rejected=self.sql(f'SELECT COUNT(*) AS n FROM "{rejected}"').get("n", 0),
            duplicate_windows=self.sql(f"SELECT COUNT(*) AS n FROM ({duplicates})").get("n", 0),
        )

    def sql(self, query: str) -> dict[str, Any]:
        """The only row of the answer, with exact counts; empty while Druid doesn't know the datasource yet.

        Raises DruidError.
        """
        request = {"query": query, "context": {"useApproximateCountDistinct": False}}
        try:
            response = requests.post(f"{self._url}/druid/v2/sql", json=request, timeout=QUERY_TIMEOUT)
            # Nor does Druid know a column before a task has announced it.
            if response.status_code == 400 and "not found" in response.text:
                return {}
            if not response.ok:
                raise DruidError(f"Druid answered {response.status_code} to {query}: {response.text.strip()[:200]}")
            return dict(response.json()[0])
        except requests.RequestException as error:
            raise DruidError(f"Druid does not answer at {self._url} ({type(error).__name__})") from error
        except (ValueError, LookupError, TypeError) as error:
            raise DruidError(f"the answer of Druid at {self._url} to {query} is not a row") from error
