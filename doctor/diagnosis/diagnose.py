"""Looks at everything twice, a few seconds apart, and collects the findings."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from kafka.errors import KafkaError
from kafka_client import NoAccess, explained
from service import state
from service.contract import Topic
from service.druid import Denied, DruidError, NotReachable

from diagnosis import druid_checks, job_checks, kafka_checks, kafka_state, machine
from diagnosis.druid_state import Druid
from diagnosis.kafka_state import Kafka
from diagnosis.limit import within
from diagnosis.seen import Ends, FoundTopic, JobReport, Offsets
from diagnosis.settings import Settings

CHECKED = (
    "Kafka, its topics and transactions, Druid's servers and supervisors, the windows job, disk, memory and clocks"
)
BETWEEN_LOOKS = 4  # seconds
LIMIT = 15  # seconds for all requests of a look to Kafka, and to Druid
NEWEST_TOKENS, NEWEST_REJECTED = 64, 300  # offsets to read at the end of these topics

# What an answer of another form may raise
UNEXPECTED = (LookupError, TypeError, ValueError, AttributeError)

T = TypeVar("T")


@dataclass
class Look:
    """What one look has seen."""

    job: JobReport
    ends: Mapping[str, Ends] = field(default_factory=dict)  # by topic
    read: Mapping[str, Offsets] = field(default_factory=dict)  # by datasource


class Diagnosis:
    """One run. `findings` grows with what is found. The constructor raises BadSetting."""

    def __init__(self, settings: Settings, topics: Mapping[str, Topic]) -> None:
        self._settings = settings
        self._topics = topics
        self._kafka: Kafka | None = None
        self._router = Druid(settings)
        self._druid: Druid | None = None  # the same, only if all of its servers answer
        self._found_topics: Mapping[str, FoundTopic] = {}
        self.findings: list[str] = []

    def run(self) -> None:
        """Look twice and check what was seen."""
        folder = self._settings.state_file.parent
        self.findings += machine.disk(machine.free_disk(folder), folder)
        self.findings += machine.memory(machine.available_memory())
        self._look_at_topics()
        try:
            self._look_at_druid()
        except Denied as error:
            self.findings.append(str(error))
        before = now = self._look()
        if self._kafka or self._druid:
            time.sleep(BETWEEN_LOOKS)
            now = self._look()
        self._check_parsing()
        if silent := job_checks.report(now.job, time.time()):
            self.findings += silent
            before.job = now.job = JobReport(None, None)  # where it was says nothing more
        self._ask_kafka(lambda kafka: self._compare(kafka, before, now))

    def _look_at_topics(self) -> None:
        client = self._settings.kafka
        servers = client.servers
        try:
            self._kafka = within(LIMIT, lambda: Kafka(client))
        except NoAccess as error:
            self.findings.append(str(error))
        except kafka_state.NotReachable as error:
            self.findings.append(kafka_checks.not_reachable(servers, str(error)))
        except kafka_state.NoAnswer:
            self.findings.append(kafka_checks.no_answer(servers, kafka_state.TIMEOUT))
        except TimeoutError:
            self.findings.append(kafka_checks.not_reachable(servers, f"no connection within {LIMIT} s"))
        names = [topic.name for topic in self._topics.values()]
        self._found_topics = self._ask_kafka(lambda kafka: kafka.topics(names)) or {}
        if self._kafka:
            self.findings += kafka_checks.topics(servers, self._topics, self._found_topics)

    def _look_at_druid(self) -> None:
        """Ask router, broker, coordinator and the others one after the other, so that the one that hangs is named.

        Of another cluster than this stack's own, only the router is asked. Raises Denied.
        """
        url, druid = self._settings.druid_url, self._router
        try:
            within(LIMIT, druid.router_is_healthy)
        except (NotReachable, TimeoutError) as error:
            reason = str(error) or f"no connection within {LIMIT} s"
            self.findings.append(druid_checks.router_not_reachable(url, reason))
            return
        except Denied:
            raise
        except DruidError as error:
            self.findings.append(druid_checks.router_failed(url, str(error)))
            return
        queryable = self._answer(druid.is_queryable, partial(druid_checks.no_queries, druid.own))
        supervisors = self._answer(druid.supervisors, partial(druid_checks.no_overlord, druid.own))
        if supervisors is not None:
            self.findings += druid_checks.supervisors(self._topics.values(), supervisors, self._found_topics)
        if queryable is None or supervisors is None:
            return
        if not druid.own:
            self._druid = druid
            return
        servers = self._answer(druid.servers, partial(druid_checks.no_queries, druid.own))
        if servers is None:
            return
        self.findings += druid_checks.missing_servers(servers)
        silent = [
            self._answer(partial(druid.is_healthy, address), partial(druid_checks.silent_server, address, kind))
            for address, kind in dict(servers).items()
        ]
        if None not in silent:
            self._druid = druid

    def _answer(self, ask: Callable[[], T], finding: Callable[[str], str]) -> T | None:
        """What Druid answers; None, and a finding of the reason, when it doesn't. Raises Denied."""
        try:
            return within(LIMIT, ask)
        except Denied:
            raise
        except (DruidError, TimeoutError, *UNEXPECTED) as error:
            self.findings.append(finding(str(error) or f"no answer within {LIMIT} s"))
            return None

    def _check_parsing(self) -> None:
        for topic in self._topics.values():
            if self._druid and topic.datasource:
                try:
                    records = within(LIMIT, partial(self._druid.unparseable, topic.datasource.name))
                except (DruidError, TimeoutError, *UNEXPECTED):  # a task starts or ends
                    continue
                self.findings += druid_checks.unparseable(topic, records)

    def _look(self) -> Look:
        ends = self._ask_kafka(lambda kafka: kafka.ends(self._found_topics)) or {}
        try:
            read = within(LIMIT, self._druid.offsets) if self._druid and self._druid.own else {}
        except (DruidError, TimeoutError, *UNEXPECTED):
            read = {}
        return Look(job_report(self._settings.state_file), ends, read)

    def _ask_kafka(self, ask: Callable[[Kafka], T]) -> T | None:
        """What Kafka answers; None, from now on, when it doesn't."""
        kafka = self._kafka
        if not kafka:
            return None
        try:
            return within(LIMIT, lambda: ask(kafka))
        except (KafkaError, TimeoutError, *UNEXPECTED) as error:
            self._kafka = None
            client, reason = self._settings.kafka, str(error) or f"no answer within {LIMIT} s"
            self.findings.append(explained(client, error) or kafka_checks.stopped_answering(client.servers, reason))
            return None

    def _compare(self, kafka: Kafka, before: Look, now: Look) -> None:
        """Add what follows from both looks and Kafka's newest records. Raises KafkaError."""
        progress, raw = self._topics["progress"].name, self._topics["raw"].name
        hidden = kafka_checks.held_back(before.ends, now.ends)
        own = self._settings.kafka_transactional_id or kafka_checks.own_transactional_id(progress)
        self.findings += kafka_checks.open_transactions(hidden, kafka.transactional_ids, own)
        token = job_checks.newest_token(self._newest(kafka, "progress", NEWEST_TOKENS, now))
        if raw in before.ends and raw in now.ends:
            token_time = kafka.newest_time(progress, self._found_topics[progress]) / 1000 if token else 0.0
            read, reads = (job_checks.read_offsets(look.job, raw) for look in (before, now))
            self.findings += job_checks.lag(read, reads, before.ends[raw], token_time, time.time())
            self.findings += job_checks.removed_records(token, raw, now.ends[raw])
            came_meanwhile = now.ends[raw].end != before.ends[raw].end
            newest = kafka.newest_time(raw, self._found_topics[raw])
            self.findings += kafka_checks.clock(newest, came_meanwhile, time.time())
        rejected = self._newest(kafka, "rejected", NEWEST_REJECTED, now)
        self.findings += job_checks.shares(token, rejected)
        for topic in self._topics.values():
            if topic.datasource and topic.name in now.ends:
                self._check_reading(kafka, topic.datasource.name, before, now, topic.name)

    def _newest(self, kafka: Kafka, role: str, number: int, now: Look) -> list[Any]:
        name = self._topics[role].name
        return kafka.newest(name, now.ends[name], number) if name in now.ends else []

    def _check_reading(self, kafka: Kafka, datasource: str, before: Look, now: Look, topic: str) -> None:
        places = druid_checks.unread(now.read.get(datasource), before.read.get(datasource), before.ends[topic])
        if places and kafka.read(topic, places, before.ends[topic].committed, enough=1):
            self.findings.append(druid_checks.does_not_read(datasource, places, now.ends[topic]))


def job_report(path: Path) -> JobReport:
    """The state file and the failure file of the windows job."""
    try:
        failure = state.read(state.failure_file(path))
    except (OSError, ValueError):
        failure = None
    try:
        return JobReport(state.read(path), failure)
    except FileNotFoundError:
        return JobReport(None, failure)
    except (OSError, ValueError) as error:
        return JobReport(None, failure, str(error))


def diagnose(settings: Settings, topics: Mapping[str, Topic]) -> list[str]:
    """The findings, each one sentence with its remedy; empty if there are none. Raises BadSetting."""
    diagnosis = Diagnosis(settings, topics)
    diagnosis.run()
    return diagnosis.findings
