"""Fakes of what doctor.py asks, and the values of a healthy stack."""

from collections.abc import Mapping
from typing import Any

from diagnosis.seen import Ends, FoundTopic, Offsets, Supervisor
from kafka.errors import KafkaTimeoutError
from service import contract
from service.druid import DruidError

TOPICS = contract.topics()
RAW, PROGRESS, REJECTED = (TOPICS[role].name for role in ("raw", "progress", "rejected"))
RUNNING = {"detailedState": "RUNNING", "healthy": True, "suspended": False, "recentErrors": []}
TOKEN = {"totals": {"records": 100, "rejected": 1, "late": 1}, "watermark_seconds": 180, "offsets": {RAW: {"0": 50}}}


class FakeKafka:
    """A healthy Kafka with 50 records in each partition, all of them old. A method in `failing` raises."""

    def __init__(self, failing: str = "", **changed: Any) -> None:
        self.failing = failing
        self.found = {topic.name: FoundTopic("id", topic.partitions, topic.needed) for topic in TOPICS.values()}
        self.hidden: dict[str, int] = {}  # offsets by topic
        self.records: dict[str, list[Any]] = {PROGRESS: [TOKEN]}
        self.unread = False
        vars(self).update(changed)

    def __call__(self, _: str) -> "FakeKafka":
        self._may_fail("connect")
        return self

    def _may_fail(self, method: str) -> None:
        if method == self.failing:
            raise KafkaTimeoutError("no answer")

    def topics(self, _: list[str]) -> dict[str, FoundTopic]:
        self._may_fail("topics")
        return self.found

    def ends(self, topics: Mapping[str, FoundTopic]) -> dict[str, Ends]:
        self._may_fail("ends")
        found = {}
        for name, topic in topics.items():
            committed = dict.fromkeys(range(topic.partitions), 50)
            end = {p: offset + self.hidden.get(name, 0) for p, offset in committed.items()}
            found[name] = Ends(dict.fromkeys(committed, 0), committed, end)
        return found

    def newest_time(self, *_: object) -> int:
        return 1_000

    def transactional_ids(self, *_: object) -> list[str]:
        return ["importer"]

    def newest(self, topic: str, *_: object) -> list[Any]:
        self._may_fail("newest")
        return self.records.get(topic, [])

    def read(self, *_: object, **__: object) -> list[Any]:
        return [b""] if self.unread else []


class FakeDruid:
    """A healthy Druid that has read everything. The methods in `failing` raise."""

    def __init__(self, failing: str = "", error: Exception | None = None, **changed: Any) -> None:
        self.failing, self.error = failing, error or DruidError("503: no")
        self.found = {t.datasource.name: Supervisor(RUNNING, "id") for t in TOPICS.values() if t.datasource}
        self.types = [("a:1", "coordinator"), ("a:1", "overlord"), ("b:2", "broker"), ("c:3", "historical")]
        self.types += [("d:4", "indexer"), ("e:5", "router")]
        self.not_parsed: dict[str, int] = {}
        self.silent: tuple[str, ...] = ()
        self.own = True
        self.places: dict[str, Offsets] = {RAW: {0: 50, 1: 50}}
        vars(self).update(changed)

    def __call__(self, _: str) -> "FakeDruid":
        return self

    def _may_fail(self, method: str) -> None:
        if method in self.failing.split():
            raise self.error

    def router_is_healthy(self) -> bool:
        self._may_fail("router")
        return True

    def is_queryable(self) -> bool:
        self._may_fail("broker")
        return True

    def servers(self) -> list[tuple[str, str]]:
        self._may_fail("servers")
        return self.types

    def is_healthy(self, address: str) -> bool:
        if address in self.silent:
            raise self.error
        return True

    def unparseable(self, datasource: str) -> int:
        self._may_fail("stats")
        return self.not_parsed.get(datasource, 0)

    def supervisors(self) -> dict[str, Supervisor]:
        self._may_fail("supervisors")
        return self.found

    def offsets(self) -> dict[str, Offsets]:
        self._may_fail("offsets")
        return self.places
