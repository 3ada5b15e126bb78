"""What the diagnosis asks Druid, by the API of its router."""

from typing import Any
from urllib.parse import urlsplit

from service.druid import DruidError, DruidSettings, Router

from diagnosis.remedies import OWN_HOSTS
from diagnosis.seen import Offsets, Supervisor

TIMEOUT = 5  # seconds for an answer


class Druid:
    """A Druid cluster, by its router. The methods raise DruidError, the constructor BadSetting.

    Other servers than the router are asked only if the cluster is this stack's `own`: those of another may be reachable
    for the router alone, and no password goes to an address that is read from an answer.
    """

    def __init__(self, settings: DruidSettings) -> None:
        self._router = Router(settings)
        url = urlsplit(settings.druid_url)
        self.own = url.scheme == "http" and url.hostname in OWN_HOSTS and not settings.druid_user

    def router_is_healthy(self) -> bool:
        """Raises NotReachable, NoAnswer, and DruidError where another program answers."""
        return self._is_healthy(self._router)

    def is_queryable(self) -> bool:
        """The broker answers a query that it needs no other server for."""
        return bool(self._ask("/druid/v2/sql", {"query": "SELECT 1"}))

    def servers(self) -> list[tuple[str, str]]:
        """The address and the type of each server; the coordinator-overlord is there with both. It must be running."""
        query = {"query": "SELECT server, server_type FROM sys.servers"}
        return [(row["server"], row["server_type"]) for row in self._ask("/druid/v2/sql", query)]

    def is_healthy(self, address: str) -> bool:
        """A server other than the router, by its host and port."""
        return self._is_healthy(server(address))

    def supervisors(self) -> dict[str, Supervisor]:
        """All supervisors by datasource."""
        path = "/druid/indexer/v1/supervisor"
        return {
            each["id"]: Supervisor(
                self._ask(f"{path}/{each['id']}/status")["payload"],
                ((each.get("spec") or {}).get("context") or {}).get("kafka_topic_id"),
            )
            for each in self._ask(f"{path}?full")
        }

    def unparseable(self, datasource: str) -> int:
        """The records that the present tasks of a datasource could not parse."""
        groups = self._ask(f"/druid/indexer/v1/supervisor/{datasource}/stats").values()
        totals = [task.get("totals", {}).get("buildSegments", {}) for group in groups for task in group.values()]
        return sum(int(each.get("unparseable", 0)) for each in totals)

    def offsets(self) -> dict[str, Offsets]:
        """Where the reading tasks of each datasource are, asked of the tasks themselves.

        What a supervisor reports is up to 30 seconds old. A datasource one of whose tasks doesn't answer is left out.
        """
        found: dict[str, Offsets] = {}
        silent = set()
        for task in self._ask("/druid/indexer/v1/tasks?state=running&type=index_kafka"):
            where = task.get("location") or {}
            address = f"{where.get('host')}:{where.get('port')}"
            try:
                offsets = ask(server(address), f"/druid/worker/v1/chat/{task['id']}/offsets/current")
                known = found.setdefault(task["dataSource"], {})
                for partition, offset in offsets.items():
                    known[int(partition)] = max(offset, known.get(int(partition), 0))
            except (DruidError, ValueError, TypeError, AttributeError):
                silent.add(task["dataSource"])
        return {name: offsets for name, offsets in found.items() if name not in silent}

    def _is_healthy(self, router: Router) -> bool:
        if (answer := ask(router, "/status/health")) is not True:
            raise DruidError(f"it says that its health is {answer!r:.100}")
        return True

    def _ask(self, path: str, json: Any = None) -> Any:
        return ask(self._router, path, json)


def server(address: str) -> Router:
    """A server other than the router, by its host and port."""
    settings = DruidSettings(druid_url=f"http://{address}", druid_user="", druid_password_file="", druid_ca_file="")
    return Router(settings)


def ask(router: Router, path: str, json: Any = None) -> Any:
    """The JSON that a server has at `path`, its answer to a POST of `json` if there is one. Raises DruidError."""
    response = router.request("POST" if json else "GET", path, TIMEOUT, json=json)
    try:
        answer = response.json() if response.content else None
    except ValueError as error:
        raise DruidError(f"the answer is not JSON: {response.text.strip()[:100]!r}") from error
    if not response.ok:
        raise DruidError(reason(answer, response.status_code))
    return answer


def reason(answer: Any, code: int) -> str:
    """Druid's own explanation of an error."""
    if isinstance(answer, dict):
        answer = answer.get("errorMessage") or answer.get("error") or answer
    return f"{code}: {str(answer)[:200]}"
