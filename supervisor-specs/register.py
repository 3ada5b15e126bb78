"""Register one Druid ingestion supervisor per topic, wait until they run, and exit. Run again, it changes nothing."""

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import requests
from kafka.errors import KafkaError

from kafka import KafkaAdminClient

# Druid configuration
druid_url = "http://router:8888"

# Kafka configuration: where Druid reads from; takes the place of "bootstrap.servers" in the specs
kafka_bootstrap_servers = "kafka0:29092"

# Seconds to wait, for each of: Kafka, Druid, the supervisors
WAIT_FOR = 180

# Seconds in which Druid's servers must have loaded some more of what is stored
WAIT_FOR_SEGMENTS = 40

# How old an hour's segments are when Druid merges them into one: each task of a few minutes leaves one, and a query
# visits every one. Younger than this, late readings may still come for them.
COMPACT_AFTER = "PT1H"

# Seconds that one request to Druid may take
REQUEST_TIMEOUT = 15

# Where a specification keeps the id of the topic that it was registered for
TOPIC_ID = "kafka_topic_id"
REMOVE_ALL = "remove all data together and start again: `make reset`, or `docker compose down --volumes`"

T = TypeVar("T")


class NotThere(Exception):
    """What is waited for is not there yet; the text says what was seen instead."""


class Refused(Exception):
    """Druid refused a specification; the text is Druid's reason."""


class DoesNotFit(Exception):
    """Druid's data and Kafka's log don't belong together."""


def load_specs(folder: Path, servers: str) -> dict[str, dict[str, Any]]:
    """The specifications of `folder` by datasource, with `servers` as the Kafka brokers to read from.

    Raises ValueError naming the file that is not a Kafka supervisor specification.
    """
    specs = {}
    for path in sorted(folder.glob("*.json")):
        try:
            spec = json.loads(path.read_text())
            spec["spec"]["ioConfig"]["consumerProperties"]["bootstrap.servers"] = servers
            spec["spec"]["ioConfig"]["topic"]
            specs[spec["spec"]["dataSchema"]["dataSource"]] = spec
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path.name} is not a Kafka supervisor specification ({error!r}); mend it") from error
    return specs


def wait_for(what: str, check: Callable[[], T], seconds: float, since_change: bool = False) -> T:
    """What check() returns once it raises NotThere no more.

    After `seconds`, since the start or since what it said has changed, TimeoutError with the last thing seen.
    """
    deadline, seen = time.monotonic() + seconds, ""
    while True:
        try:
            return check()
        except NotThere as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} not there after {seconds:g} s: {error}") from error
            if str(error) != seen:
                seen = str(error)
                if since_change:
                    deadline = time.monotonic() + seconds
                print(f"waiting for {what}: {seen}", flush=True)
            time.sleep(0.5)


def ask(method: str, path: str, **options: Any) -> Any:
    """Druid's JSON answer, None where it has nothing to say.

    Raises NotThere when it gives none, Refused with its reason when it says 400 or the like.
    """
    try:
        response = requests.request(method, setting("druid_url") + path, timeout=REQUEST_TIMEOUT, **options)
    except requests.RequestException as error:
        raise NotThere(f"no answer from {setting('druid_url')} ({type(error).__name__})") from error
    if 400 <= response.status_code < 500 and response.status_code not in (404, 408, 429):
        raise Refused(reason(response))
    if not response.ok:
        raise NotThere(f"{path} answered {response.status_code}: {reason(response)}")
    try:
        return response.json() if response.content else None
    except ValueError as error:
        raise NotThere(f"{path} answered no JSON: {response.text[:200]!r}") from error


def reason(response: requests.Response) -> str:
    """Why Druid said no, in its own words."""
    try:
        answer = response.json()
        return str(answer.get("errorMessage") or answer.get("error") or answer)
    except (ValueError, AttributeError):
        return response.text.strip()[:500] or response.reason


def topic_ids(servers: str, topics: set[str]) -> dict[str, str]:
    """The id that Kafka gave each topic when it was created."""
    try:
        with KafkaAdminClient(bootstrap_servers=servers, bootstrap_timeout_ms=5000) as admin:
            found = {topic["name"]: str(topic["topic_id"]) for topic in admin.describe_topics()}
    except KafkaError as error:
        raise NotThere(f"Kafka does not answer at {servers} ({error})") from error
    if missing := topics - set(found):
        raise NotThere(f"no topic {', '.join(sorted(missing))}; kafka/create_topics.py creates it")
    return {topic: found[topic] for topic in topics}


def check_druid() -> None:
    """Druid takes supervisors: the overlord leads and at least one worker is there to run tasks."""
    workers = ask("GET", "/druid/indexer/v1/workers")
    if not workers:
        raise NotThere("the overlord has no worker yet")


def check_fit(name: str, topic_id: str) -> None:
    """Raises DoesNotFit when Druid has read the datasource from another topic: its offsets mean nothing in this one."""
    known = ask("GET", "/druid/indexer/v1/supervisor", params={"full": ""})
    for supervisor in known:
        read = (supervisor["spec"].get("context") or {}).get(TOPIC_ID)
        if supervisor["id"] == name and read not in (None, topic_id):
            raise DoesNotFit(
                f"Druid's {name} was read from a topic that is gone, and the one that is there was made anew."
                f" Put back what was removed, or {REMOVE_ALL}."
            )


def register(spec: dict[str, Any], topic_id: str) -> None:
    """Post the specification; Druid leaves a supervisor alone whose specification is the same."""
    spec["context"] = {**spec.get("context", {}), TOPIC_ID: topic_id}
    ask("POST", "/druid/indexer/v1/supervisor", params={"skipRestartIfUnmodified": "true"}, json=spec)


def compact(name: str) -> None:
    """Let Druid merge the datasource's segments by the hour, when it has a task slot to spare."""
    wanted = {"dataSource": name, "skipOffsetFromLatest": COMPACT_AFTER}
    ask("POST", "/druid/coordinator/v1/config/compaction", json=wanted)


def check_running(name: str) -> None:
    state = ask("GET", f"/druid/indexer/v1/supervisor/{name}/status")["payload"]
    if state["detailedState"] != "RUNNING":
        errors = [error.get("message") or error.get("exceptionClass") for error in state.get("recentErrors", [])]
        raise NotThere(f"{state['detailedState']}{': ' if errors else ''}{'; '.join(map(str, errors[-1:]))}")


def check_segments(name: str) -> None:
    """Druid can load all it has stored of a datasource: the files that its metadata tells of are there.

    Asked of the metadata store itself: until the coordinator's first round it would say that nothing is left to load.
    """
    options = {"simple": "", "forceMetadataRefresh": "true", "interval": "2000/2100"}
    left = ask("GET", f"/druid/coordinator/v1/datasources/{name}/loadstatus", params=options)
    if left and left[name]:
        raise NotThere(
            f"{left[name]} segments of {name} are not loaded; if their files were removed,"
            f" put them back, or {REMOVE_ALL}"
        )


def setting(name: str) -> str:
    """The constant `name`, or the environment variable of the same name in capitals where it is set."""
    return os.environ.get(name.upper(), str(globals()[name]))


def main() -> None:
    servers = setting("kafka_bootstrap_servers")
    try:
        specs = load_specs(Path(__file__).parent, servers)
        topics = {spec["spec"]["ioConfig"]["topic"] for spec in specs.values()}
        ids = wait_for("the topics", lambda: topic_ids(servers, topics), WAIT_FOR)
        wait_for("Druid", check_druid, WAIT_FOR)
        for name, spec in specs.items():
            topic_id = ids[spec["spec"]["ioConfig"]["topic"]]
            wait_for("Druid's supervisors", partial(check_fit, name, topic_id), WAIT_FOR)
            wait_for(f"Druid to take {name}", partial(register, spec, topic_id), WAIT_FOR)
            wait_for(f"Druid to compact {name}", partial(compact, name), WAIT_FOR)
            print(f"supervisor {name}: registered", flush=True)
        for name in specs:
            wait_for(f"supervisor {name}", partial(check_running, name), WAIT_FOR)
            print(f"supervisor {name}: RUNNING", flush=True)
        for name in specs:
            wait_for(f"Druid's segments of {name}", partial(check_segments, name), WAIT_FOR_SEGMENTS, since_change=True)
    except DoesNotFit as error:
        sys.exit(str(error))
    except Refused as error:
        sys.exit(f"Druid refused a supervisor: {error}")
    except (TimeoutError, ValueError) as error:
        sys.exit(f"The supervisors could not be registered: {error}.")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
