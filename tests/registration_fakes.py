"""A Druid that answers the registration, and what it lists."""

from typing import Any

from druid_router import settings
from registration.druid import Druid

SLOTS = {"currentClusterCapacity": 9, "maximumCapacityWithAutoScale": -1, "usedClusterCapacity": 4}


class FakeDruid(Druid):
    """Answers by the end of the path and keeps what is posted. Without an answer there is no supervisor of anything."""

    def __init__(self, **answers: Any) -> None:
        super().__init__(settings("http://druid"))
        self.answers = {"supervisor": [], "tasks": [], "totalWorkerCapacity": SLOTS, **answers}
        self.posted: list[tuple[str, dict[str, Any], Any]] = []

    def ask(self, method: str, path: str, **options: Any) -> Any:
        if method == "POST":
            self.posted.append((path, options.get("params", {}), options.get("json")))
            return None
        return self.answers[path.rpartition("/")[2]]


def spec(topic: str, servers: str = "kafka0:29092", **more: Any) -> dict[str, Any]:
    """What the registration reads of a spec, in this repository or as Druid keeps it."""
    io = {"topic": topic, "consumerProperties": {"bootstrap.servers": servers}}
    return {"type": "kafka", "spec": {"ioConfig": io}, **more}


def supervisor(name: str, topic: str = "readings", **more: Any) -> dict[str, Any]:
    """As Druid lists one with `full`."""
    return {"id": name, "state": "RUNNING", "healthy": True, "suspended": False, "spec": spec(topic, **more)}
