"""Checks of Kafka: the address, the topics, open transactions, the clock. Pure."""

from collections.abc import Callable, Mapping

from service.contract import Topic

from diagnosis.remedies import OWN_HOSTS, RESET, UP, log_of, restart
from diagnosis.seen import Ends, FoundTopic

CLOCK_LIMIT = 60  # seconds between Kafka's clock and this machine's


def not_reachable(servers: str, reason: str) -> str:
    """Nothing accepts a connection at Kafka's address."""
    if is_own(servers):
        remedy = f"Start it with {UP}; if it ends again, the cause is in {log_of('kafka0')}."
    else:
        remedy = (
            "Check KAFKA_BOOTSTRAP_SERVERS and that server; containers reach other machines only with"
            " CLOSED_NETWORK=false in .env."
        )
    return f"Kafka is not reachable at {servers} ({reason}). {remedy}"


def no_answer(servers: str, seconds: float) -> str:
    """Kafka accepts a connection and does not answer."""
    hint = f"Restart it with {restart('kafka0')}." if is_own(servers) else "Check KAFKA_BOOTSTRAP_SERVERS."
    return (
        f"Kafka at {servers} accepts the connection but has not answered for {seconds:g} s: it hangs, or another"
        f" program listens there. {hint}"
    )


def stopped_answering(servers: str, reason: str) -> str:
    """Kafka has answered, and then not."""
    return (
        f"Kafka answers at {servers}, but not to every request ({reason}): it is ending, overloaded, or the address"
        " that it gives to its clients is not reachable from here. By default, the addresses are kafka0:29092 in the"
        f" containers and localhost:9092 on this machine; the cause may be in {log_of('kafka0')}."
    )


def is_own(servers: str) -> bool:
    """Whether the addresses are those of this stack's Kafka."""
    return all(server.strip().rpartition(":")[0] in OWN_HOSTS for server in servers.split(","))


def topics(servers: str, wanted: Mapping[str, Topic], found: Mapping[str, FoundTopic]) -> list[str]:
    """Topics that are missing, or are not as schemas/topics.json says."""
    missing = [topic.name for topic in wanted.values() if topic.name not in found]
    if len(missing) == len(wanted):
        return [
            f"Kafka at {servers} has none of the pipeline's topics ({', '.join(missing)}). If that is the right Kafka,"
            f" {UP} creates them; otherwise correct KAFKA_BOOTSTRAP_SERVERS."
        ]
    findings = []
    if missing:
        findings.append(f"Topics are missing in Kafka: {', '.join(missing)}. {UP} creates them.")
    for topic in wanted.values():
        if topic.name in found:
            findings += different_settings(topic, found[topic.name]) + wrong_partitions(topic, found[topic.name])
    return findings


def different_settings(topic: Topic, found: FoundTopic) -> list[str]:
    """Settings of a topic that differ from those that the pipeline needs."""
    different = topic.different(found.config)
    if not different:
        return []
    present = _shown({name: found.config.get(name, "unknown") for name in different})
    return [f"Topic {topic.name} has the settings {present} instead of {_shown(different)}: {UP} sets them."]


def wrong_partitions(topic: Topic, found: FoundTopic) -> list[str]:
    """More partitions than the records of one sequence may have. Keyed records may be in any number."""
    if topic.key or found.partitions == topic.partitions:
        return []
    return [
        f"Topic {topic.name} has {found.partitions} partitions instead of {topic.partitions}, but its records are one"
        f" sequence. If nothing has been written to it, delete it, and {UP} creates it; otherwise remove all data with"
        f" {RESET}."
    ]


def held_back(before: Mapping[str, Ends], now: Mapping[str, Ends]) -> dict[tuple[str, int], int]:
    """How many offsets an open transaction hides, by topic and partition: one that was open at both looks."""
    hidden = {}
    for name in before.keys() & now.keys():
        for partition, committed in before[name].committed.items():
            was_open = before[name].end[partition] > committed
            if was_open and now[name].committed.get(partition) == committed:
                hidden[name, partition] = now[name].end[partition] - committed
    return hidden


def open_transactions(
    hidden: Mapping[tuple[str, int], int], producers: Callable[[str, int], list[str]], own: str
) -> list[str]:
    """Transactions that hide records. `own` is the transactional id of the windows job, whose batch may be long."""
    findings = []
    for (topic, partition), offsets in sorted(hidden.items()):
        ids = producers(topic, partition)
        if ids == [own]:
            continue
        name = f" of the producer with the transactional id {', '.join(ids)}" if ids else ""
        findings.append(
            f"An open transaction{name} hides {offsets:,} offset{'s' * (offsets != 1)} of partition {partition} of"
            f" {topic} from every reader. End or restart that producer; Kafka aborts the transaction after the"
            " producer's transaction.timeout.ms."
        )
    return findings


def own_transactional_id(progress_topic: str) -> str:
    """The transactional id of the windows job."""
    return f"{progress_topic}-windows-job"


def clock(newest: int, came_meanwhile: bool, now: float) -> list[str]:
    """The newest timestamp of Kafka, in milliseconds, far from `now`, in seconds since the epoch.

    An old timestamp says something about the clock only if the record came a moment ago.
    """
    ahead = newest / 1000 - now
    if newest < 0 or (ahead < CLOCK_LIMIT and not (came_meanwhile and -ahead > CLOCK_LIMIT)):
        return []
    return [
        f"Kafka's clock is {abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's clock."
        " Synchronize both: by Kafka's clock, readings are rejected as too far in the future."
    ]


def _shown(configs: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in configs.items())
