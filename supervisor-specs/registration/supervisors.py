"""The steps of a registration. Each asks once and raises NotReady where it must be repeated."""

from collections.abc import Collection, Mapping
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from kafka_client import KafkaClient, no_topic

from registration.druid import DataMismatch, Druid, NotReady

# Where a spec keeps the id of the topic that it was registered for
TOPIC_ID = "kafka_topic_id"

REMOVE_ALL = "remove all data and start again (`make reset` or `docker compose down --volumes`)"


def topic_ids(kafka: KafkaClient, names: Collection[str]) -> dict[str, str]:
    """The id that Kafka gave each topic at its creation, by name."""
    try:
        with KafkaAdminClient(**kafka.options(), bootstrap_timeout_ms=5000) as admin:
            found = {topic["name"]: str(topic["topic_id"]) for topic in admin.describe_topics()}
    except KafkaError as error:
        raise NotReady(f"Kafka does not answer at {kafka.servers} ({error})") from error
    if missing := set(names) - set(found):
        raise NotReady(no_topic(kafka, ", ".join(sorted(missing))))
    return {name: found[name] for name in names}


def check_druid(druid: Druid) -> None:
    """The overlord leads, and there is a server that can run tasks, or a place to start one.

    Every kind of cluster answers this: MiddleManagers, Indexers and tasks in Kubernetes. A capacity of -1 is not known.
    """
    capacity = druid.ask("GET", "/druid/indexer/v1/totalWorkerCapacity")
    if capacity["currentClusterCapacity"] == 0 and capacity.get("maximumCapacityWithAutoScale", -1) <= 0:
        raise NotReady("it has no task slot yet")


def check_topics(druid: Druid, specs: Mapping[str, Mapping[str, Any]], ids: Mapping[str, str]) -> None:
    """Raises DataMismatch if Druid has read a datasource from another topic: its offsets mean nothing in this one.

    `specs` are by datasource, `ids` by topic. If the other topic had the same name, the supervisor is suspended. Its
    offset is beyond the end of the present topic: it would start again at offset 0, and read the other topic a second
    time once that is restored.
    """
    found = []
    for supervisor in druid.ask("GET", "/druid/indexer/v1/supervisor", params={"full": ""}):
        name, registered = supervisor["id"], supervisor["spec"]
        if name not in specs:
            continue
        source = _source(specs[name])
        if (registered.get("context") or {}).get(TOPIC_ID) not in (None, ids[source[0]]):
            found.append(name)
            if _source(registered) == source:
                druid.ask("POST", f"/druid/indexer/v1/supervisor/{name}/suspend")
    if found:
        raise DataMismatch(
            f"Druid's {found[0]} was read from a topic that was removed or has another name. The present topic"
            f" has other offsets: restore what was removed, or {REMOVE_ALL}."
        )


def _source(spec: Mapping[str, Any]) -> tuple[str, str]:
    """The topic that a spec reads, and the brokers."""
    io = spec["spec"]["ioConfig"]
    return io["topic"], io["consumerProperties"]["bootstrap.servers"]


def check_terminated(druid: Druid, datasource: str) -> None:
    """No task of a supervisor that was terminated still publishes.

    Before it has, Druid doesn't know up to which offset the datasource has been read, and a new supervisor would begin
    at the first one.
    """
    if datasource in druid.ask("GET", "/druid/indexer/v1/supervisor"):
        return
    running = {"state": "running", "datasource": datasource, "type": "index_kafka"}
    if tasks := druid.ask("GET", "/druid/indexer/v1/tasks", params=running):
        raise NotReady(f"{len(tasks)} of its tasks still publish, as it was terminated")


def register(druid: Druid, spec: Mapping[str, Any], topic_id: str) -> None:
    """Post the spec. Druid doesn't restart a supervisor whose spec is the same."""
    body = {**spec, "context": {**spec.get("context", {}), TOPIC_ID: topic_id}}
    druid.ask("POST", "/druid/indexer/v1/supervisor", params={"skipRestartIfUnmodified": "true"}, json=body)


def compact(druid: Druid, spec: Mapping[str, Any]) -> None:
    """Let Druid merge the datasource's segments of each month, except the newest month, when a task slot is free.

    A datasource of an earlier version has segments of an hour. They are merged into those of the spec's granularity.
    """
    data = spec["spec"]["dataSchema"]
    granularity = {"segmentGranularity": data["granularitySpec"]["segmentGranularity"]}
    config = {"dataSource": data["dataSource"], "granularitySpec": granularity}
    druid.ask("POST", "/druid/coordinator/v1/config/compaction", json=config)


def check_running(druid: Druid, datasource: str) -> None:
    """The supervisor is RUNNING."""
    state = druid.ask("GET", f"/druid/indexer/v1/supervisor/{datasource}/status")["payload"]
    if state["detailedState"] != "RUNNING":
        errors = [error.get("message") or error.get("exceptionClass") for error in state.get("recentErrors", [])]
        raise NotReady(f"{state['detailedState']}{': ' if errors else ''}{'; '.join(map(str, errors[-1:]))}")


def check_segments(druid: Druid, datasource: str) -> None:
    """Druid has loaded every segment of the datasource, which it can't if files of its deep storage are missing."""
    # From the metadata store: until its first round the coordinator would answer that nothing is left to load.
    options = {"simple": "", "forceMetadataRefresh": "true", "interval": "2000/2100"}
    left = druid.ask("GET", f"/druid/coordinator/v1/datasources/{datasource}/loadstatus", params=options)
    if left and left[datasource]:
        raise NotReady(
            f"{left[datasource]} segments of {datasource} are not loaded; if their files were removed, stop the stack,"
            f" restore them and start it again, or {REMOVE_ALL}"
        )
