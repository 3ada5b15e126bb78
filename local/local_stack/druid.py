"""What the verbs ask Druid."""

from dataclasses import dataclass
from typing import Any

import requests

from local_stack.errors import Unhealthy

# Druid is on this machine or in its network: `http_proxy` of a user's shell doesn't apply.
NO_PROXY = {"no_proxy": "*"}

TIMEOUT = 10  # seconds for one answer
QUERY_TIMEOUT = 60


def get(url: str) -> Any:
    """The JSON at `url`, None where the answer is empty. Raises Unhealthy."""
    try:
        response = requests.get(url, timeout=TIMEOUT, proxies=NO_PROXY)
        response.raise_for_status()
        return response.json() if response.content else None
    except (requests.RequestException, ValueError) as error:
        raise Unhealthy(f"no good answer from {url} ({type(error).__name__})") from error


@dataclass(frozen=True)
class Druid:
    """A Druid cluster, by the URL of its router. Its methods raise Unhealthy when there is no answer."""

    url: str

    def sql(self, query: str) -> list[dict[str, Any]]:
        """The rows of the answer, counts being exact; none while Druid doesn't know the datasource yet."""
        request = {"query": query, "context": {"useApproximateCountDistinct": False}}
        try:
            response = requests.post(f"{self.url}/druid/v2/sql", json=request, timeout=QUERY_TIMEOUT, proxies=NO_PROXY)
            if response.status_code == 400 and "not found" in response.text:
                return []
            response.raise_for_status()
            return list(response.json())
        except (requests.RequestException, ValueError) as error:
            raise Unhealthy(f"no answer from Druid to: {query} ({type(error).__name__})") from error

    def number(self, query: str) -> int:
        """The column n of the first row; 0 where there is none, as while Druid doesn't know the datasource yet."""
        rows = self.sql(query)
        return int(rows[0]["n"] or 0) if rows else 0

    def rows(self, datasource: str) -> int:
        """The number of rows of a datasource; 0 also when there is no answer."""
        try:
            return self.number(f'SELECT COUNT(*) AS n FROM "{datasource}"')
        except Unhealthy:
            return 0

    def supervisor(self, datasource: str) -> dict[str, Any]:
        """The status of an ingestion supervisor: detailedState, aggregateLag and more."""
        return dict(get(f"{self.url}/druid/indexer/v1/supervisor/{datasource}/status")["payload"])

    @property
    def console(self) -> str:
        return f"{self.url.replace('//127.0.0.1', '//localhost')}/unified-console.html"
