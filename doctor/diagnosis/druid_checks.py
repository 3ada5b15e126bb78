"""Checks of Druid: the servers and the supervisors. Pure."""

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from service.contract import Topic

from diagnosis.remedies import OWN_HOSTS, RESET, UP, log_of, restart
from diagnosis.seen import Ends, FoundTopic, Offsets, Supervisor

# The types of sys.servers that serve a need, and the service of this stack that is of that type
NEEDED_SERVERS = {
    "coordinator": {"coordinator"},
    "broker": {"broker"},
    "historical": {"historical"},
    "indexer": {"indexer", "middle_manager"},
}
SERVICE_OF = {kind: service for service, kinds in NEEDED_SERVERS.items() for kind in kinds} | {
    "overlord": "coordinator",
    "router": "router",
}


def router_not_reachable(url: str, reason: str) -> str:
    """Nothing accepts a connection at the router's address."""
    if urlsplit(url).hostname in OWN_HOSTS:
        remedy = f"Start it with {UP}; if it ends again, the cause is in {log_of('router')}."
    else:
        remedy = (
            "Check DRUID_URL and that server; containers reach other machines only with CLOSED_NETWORK=false in .env."
        )
    return f"Druid's router is not reachable at {url} ({reason}). {remedy}"


def router_failed(url: str, reason: str) -> str:
    """The router hangs or is not a router."""
    return (
        f"Druid's router at {url} accepts the connection but does not answer: {reason}. It hangs, or another program"
        f" listens there. Restart it with {restart('router')}, or correct DRUID_URL."
    )


def no_queries(own: bool, reason: str) -> str:
    """The broker doesn't answer; it is this stack's `own` or another's."""
    if not own:
        return f"Druid's broker does not answer queries: {reason}. Look at that server; DRUID_URL names its router."
    return (
        f"Druid's broker does not answer queries: {reason}. Start it with {UP}; if it runs and hangs, restart it with"
        f" {restart('broker')}. Its log is {log_of('broker')}."
    )


def no_overlord(own: bool, reason: str) -> str:
    """The overlord, which keeps the supervisors, doesn't answer; it is this stack's `own` or another's."""
    if not own:
        return (
            f"Druid's overlord, which runs the supervisors, does not answer: {reason}. Look at that server, and whether"
            " the router at DRUID_URL forwards to it: druid.router.managementProxy.enabled must be true."
        )
    return (
        f"Druid's coordinator, which runs the supervisors, does not answer: {reason}. Start it with {UP}; if it runs"
        f" and hangs, restart it with {restart('coordinator')}. Its log is {log_of('coordinator')}."
    )


def missing_servers(servers: Collection[tuple[str, str]]) -> list[str]:
    """The types of servers that Druid needs and lacks. `servers` are the address and the type of each."""
    types = {kind for _, kind in servers}
    return [
        f"Druid has no {service}: {UP} starts it; if it ends again, the cause is in {log_of(service)}."
        for service, kinds in NEEDED_SERVERS.items()
        if not kinds & types
    ]


def silent_server(address: str, kind: str, reason: str) -> str:
    """A server that Druid knows and that doesn't answer."""
    service = SERVICE_OF.get(kind, kind)
    return (
        f"Druid's {service} at {address} does not answer: {reason}. If it has ended, {UP} starts it; if it runs and"
        f" hangs, restart it with {restart(service)}. Its log is {log_of(service)}."
    )


def supervisors(
    wanted: Collection[Topic], found: Mapping[str, Supervisor], topics: Mapping[str, FoundTopic]
) -> list[str]:
    """Supervisors that are missing, suspended or unhealthy, or belong to another topic than the one of that name."""
    expected = {topic.datasource.name: topic for topic in wanted if topic.datasource}
    findings = []
    if missing := [name for name in expected if name not in found]:
        findings.append(f"Druid has no supervisor for {', '.join(missing)}: {UP} registers what is missing.")
    for name, topic in expected.items():
        if name in found:
            findings += supervisor(name, found[name])
            findings += other_topic(name, topic.name, found[name], topics.get(topic.name))
    return findings


def supervisor(name: str, found: Supervisor) -> list[str]:
    """A supervisor that is suspended or unhealthy."""
    status = found.status
    if status.get("suspended"):
        return [f"Supervisor {name} is suspended: {UP} resumes it."]
    if status.get("healthy", True):
        return []
    message = newest_error(status.get("recentErrors") or [])
    return [
        f"Supervisor {name} is {status.get('detailedState', 'unhealthy')}: {message}. It recovers when the cause is"
        f" gone; more is in {log_of('coordinator')} and {log_of('indexer')}."
    ]


def newest_error(errors: Collection[Mapping[str, Any]]) -> str:
    """The first line of the newest message in a supervisor's recent errors."""
    for error in reversed(list(errors)):
        if text := str(error.get("message") or error.get("exceptionClass") or "").strip():
            return text.splitlines()[0].rstrip(".")[:300]
    return "it gives no reason"


def other_topic(name: str, topic_name: str, found: Supervisor, topic: FoundTopic | None) -> list[str]:
    """A supervisor that was registered for a topic with another id."""
    if not topic or found.topic_id in (None, topic.id):
        return []
    return [
        f"Druid's {name} was read from another topic than the {topic_name} in Kafka: their ids are {found.topic_id} and"
        f" {topic.id}. The topic was removed and created again, or KAFKA_BOOTSTRAP_SERVERS is the address of another"
        f" Kafka. Restore what was removed, correct the address, or remove all data with {RESET}."
    ]


def unparseable(topic: Topic, records: int) -> list[str]:
    """Records that Druid could not parse, of topics other than the raw one, whose invalid records are rejected."""
    if topic.role == "raw" or not records:
        return []
    return [
        f"Druid could not parse {records:,} record{'s' * (records != 1)} of {topic.name}, so its datasource lacks them."
        f" Another client may have sent them; the records are in {log_of('indexer')}."
    ]


def unread(now: Offsets | None, before: Offsets | None, ends: Ends) -> Offsets:
    """The places from which a datasource's tasks have read nothing between two looks although there may be records.

    The last offsets of a topic may be the ends of transactions, which are no records: whoever calls this looks.
    """
    if now is None or before is None or now != before:
        return {}
    return {p: offset for p, offset in now.items() if offset < ends.committed.get(p, 0)}


def does_not_read(name: str, offsets: Offsets, ends: Ends) -> str:
    """A supervisor whose tasks read nothing although records wait."""
    behind = sum(ends.committed[p] - offset for p, offset in offsets.items())
    return (
        f"Supervisor {name} lags by {behind:,} offsets and has read none of them in the last seconds. If that stays so,"
        f" restart Druid's indexer with {restart('indexer')}; the cause may be in {log_of('indexer')}."
    )
