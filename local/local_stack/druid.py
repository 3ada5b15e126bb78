"""What the verbs ask Druid."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import requests
from service.druid import Denied, DruidError, DruidSettings, Router
from service.settings import BadSetting

from local_stack.errors import Unhealthy

TIMEOUT = 10  # seconds for one answer
QUERY_TIMEOUT = 60


def without_login(url: str) -> DruidSettings:
    """The settings of a server that asks for no user, as all of a stack's own do."""
    return DruidSettings(druid_url=url, druid_user="", druid_password_file="", druid_ca_file="")


def get(url: str) -> Any:
    """The JSON at the `url` of a server of the stack, None where the answer is empty. Raises Unhealthy."""
    return Druid(without_login(url)).get("")


@dataclass(frozen=True)
class Druid:
    """A Druid cluster, by its router. Its methods raise Unhealthy when there is no answer."""

    settings: DruidSettings

    @property
    def url(self) -> str:
        return self.settings.druid_url

    @cached_property
    def _router(self) -> Router:
        try:
            return Router(self.settings)
        except BadSetting as error:  # a file was removed since `make up`
            raise Unhealthy(str(error)) from error

    def _request(self, method: str, path: str, timeout: float, **options: Any) -> requests.Response:
        try:
            return self._router.request(method, path, timeout, **options)
        except Denied as error:
            raise Unhealthy(str(error).rstrip(".")) from error
        except DruidError as error:
            raise Unhealthy(f"no good answer from {self.url}{path} ({error})") from error

    def get(self, path: str) -> Any:
        """The JSON at a path, None where the answer is empty."""
        response = self._request("GET", path, TIMEOUT)
        try:
            response.raise_for_status()
            return response.json() if response.content else None
        except (requests.RequestException, ValueError) as error:
            raise Unhealthy(f"no good answer from {self.url}{path} ({type(error).__name__})") from error

    def sql(self, query: str) -> list[dict[str, Any]]:
        """The rows of the answer, counts being exact; none while Druid doesn't know the datasource yet."""
        request = {"query": query, "context": {"useApproximateCountDistinct": False}}
        response = self._request("POST", "/druid/v2/sql", QUERY_TIMEOUT, json=request)
        try:
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
        return dict(self.get(f"/druid/indexer/v1/supervisor/{datasource}/status")["payload"])

    @property
    def console(self) -> str:
        return f"{self.url.replace('//127.0.0.1', '//localhost')}/unified-console.html"
