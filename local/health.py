"""How each part is: asked for, never guessed. Every check returns a few words, or raises Unhealthy with the reason."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import requests
from kafka.errors import KafkaError

from kafka import KafkaConsumer, TopicPartition

from services import PROGRESS_FILE, router_url
from settings import env_file

RAW, AGGREGATED, REJECTED = DATASOURCES = "sensor-data-raw", "sensor-data-aggregated", "sensor-data-rejected"
PROGRESS = "sensor-data-progress"  # the windows job's own topic
TIMEOUT = 10  # seconds for one answer
CLOCK_AHEAD_SECONDS = 10  # as in pyspark.py


class Unhealthy(Exception):
    """The part doesn't do its work, or not yet; the text says what was seen."""


def check_port(port: str) -> Callable[[], str]:
    def check() -> str:
        try:
            with socket.create_connection(("127.0.0.1", int(env_file()[port])), timeout=TIMEOUT):
                return "answers"
        except OSError as error:
            raise Unhealthy(f"no answer ({error.strerror or error})") from error

    return check


def check_druid(port: str, path: str) -> Callable[[], str]:
    def check() -> str:
        get(f"http://127.0.0.1:{env_file()[port]}{path}")
        return "ready"

    return check


def check_kafka() -> str:
    first, end = raw_offsets()
    return f"{end - first} readings in {RAW}"


def check_pyspark() -> str:
    progress = job_progress()
    age = time.time() - PROGRESS_FILE.stat().st_mtime
    if age > 30:
        raise Unhealthy(f"no sign of life for {age:.0f} s")
    lag = job_lag(progress)
    if "batch" not in progress:
        return f"at its first batch, lag {lag}" if lag else "waits for readings"
    return f"batch {progress['batch']}, lag {lag}, watermark {progress['watermark']}"


def check_supervisors() -> str:
    """All supervisors run; with their lag in records."""
    lags = []
    for name in DATASOURCES:
        status = get(f"{router_url()}/druid/indexer/v1/supervisor/{name}/status")["payload"]
        if status["detailedState"] != "RUNNING":
            raise Unhealthy(f"supervisor {name} is {status['detailedState']}")
        lag = status.get("aggregateLag")
        lags.append(f"{name} RUNNING, lag {'not known yet' if lag is None else lag}")
    return "; ".join(lags)


# By service; a one-shot that has nothing to answer is healthy when it has ended well.
CHECKS: dict[str, Callable[[], str]] = {
    "zookeeper": check_port("ZOOKEEPER_PORT"),
    "kafka0": check_kafka,
    "coordinator": check_druid("COORDINATOR_PORT", "/status/health"),
    "broker": check_druid("BROKER_PORT", "/druid/broker/v1/readiness"),
    "historical": check_druid("HISTORICAL_PORT", "/druid/historical/v1/readiness"),
    "indexer": check_druid("INDEXER_PORT", "/status/health"),
    "router": check_druid("ROUTER_PORT", "/status/health"),
    "pyspark": check_pyspark,
    "supervisor-specs": check_supervisors,
}


def get(url: str) -> Any:
    try:
        response = requests.get(url, timeout=TIMEOUT)
        response.raise_for_status()
        return response.json() if response.content else None
    except (requests.RequestException, ValueError) as error:
        raise Unhealthy(f"no good answer from {url} ({type(error).__name__})") from error


def sql(query: str) -> list[dict[str, Any]]:
    """The rows that Druid answers, counts being exact; none while it doesn't know the datasource yet.

    Raises Unhealthy when it gives no answer.
    """
    request = {"query": query, "context": {"useApproximateCountDistinct": False}}
    try:
        response = requests.post(f"{router_url()}/druid/v2/sql", json=request, timeout=60)
        if response.status_code == 400 and "not found" in response.text:
            return []
        response.raise_for_status()
        return list(response.json())
    except (requests.RequestException, ValueError) as error:
        raise Unhealthy(f"no answer from Druid to: {query} ({type(error).__name__})") from error


def number(query: str) -> int:
    """The n that Druid answers; 0 where there is none, as while it doesn't know the datasource yet."""
    found = sql(query)
    return int(found[0]["n"] or 0) if found else 0


def rows(datasource: str) -> int:
    """How many rows a datasource has; 0 also when Druid gives no answer."""
    try:
        return number(f'SELECT COUNT(*) AS n FROM "{datasource}"')
    except Unhealthy:
        return 0


@contextmanager
def kafka_consumer(**options: Any) -> Iterator[KafkaConsumer]:
    """Kafka, to be asked; raises Unhealthy when it gives no answer."""
    servers = f"127.0.0.1:{env_file()['KAFKA_PORT']}"
    try:
        consumer = KafkaConsumer(
            bootstrap_servers=servers, bootstrap_timeout_ms=5000, allow_auto_create_topics=False, **options
        )
        try:
            yield consumer
        finally:
            consumer.close()
    except KafkaError as error:
        raise Unhealthy(f"Kafka does not answer ({error})") from error


def raw_offsets() -> tuple[int, int]:
    """The first and the end offset of the raw topic, summed over its partitions; their difference is its records."""
    with kafka_consumer() as consumer:
        partitions = [TopicPartition(RAW, p) for p in consumer.partitions_for_topic(RAW) or ()]
        first, end = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        return sum(first.values()), sum(end.values())


def windows_emitted() -> int:
    """How many windows the job has written to Kafka: it says so batch by batch, together with them."""
    reading_all = {"isolation_level": "read_committed", "auto_offset_reset": "earliest", "consumer_timeout_ms": 2000}
    with kafka_consumer(enable_auto_commit=False, **reading_all) as consumer:
        consumer.assign([TopicPartition(PROGRESS, 0)])
        return sum(json.loads(token.value)["windows"] for token in consumer)


def job_progress() -> dict[str, Any]:
    """What the windows job last wrote about itself (see report() in pyspark.py)."""
    try:
        return dict(json.loads(PROGRESS_FILE.read_text()))
    except (OSError, ValueError) as error:
        raise Unhealthy("not started yet") from error


def job_lag(progress: dict[str, Any]) -> int:
    """Readings in Kafka that the windows job has not read yet."""
    read = (progress.get("offsets") or {}).get(RAW)
    first, end = raw_offsets()
    return end - sum(read.values()) if read else end - first


def job_has_caught_up() -> bool:
    """The windows job has read all readings and its watermark closes the windows that the newest of them closes."""
    progress = job_progress()
    if job_lag(progress):
        return False
    newest = number(f'SELECT TIMESTAMP_TO_MILLIS(MAX(__time)) AS n FROM "{RAW}"')
    window, delay = int(progress["window_seconds"]) * 1000, int(progress["watermark_seconds"]) * 1000
    return _millis(progress.get("watermark")) // window >= (newest - delay) // window


def open_windows() -> int:
    """How many windows, per vehicle, the readings in Druid make up that the watermark has not closed yet."""
    progress = job_progress()
    length = progress["window_seconds"] * 1000
    # A window is closed when the watermark has passed its end: its readings are older than this.
    closed_before = _millis(progress.get("watermark")) // length * length
    time = "TIMESTAMP_TO_MILLIS(__time)"
    opened = f'SELECT 1 FROM "{RAW}" WHERE {time} >= {closed_before} GROUP BY {time} / {length}, entity'
    return number(f"SELECT COUNT(*) AS n FROM ({opened})")


def closing_seconds() -> int:
    """After how long a silence the job has closed all windows by itself (see close_last_windows() in pyspark.py)."""
    progress = job_progress()
    return int(progress["window_seconds"] + progress["watermark_seconds"] + CLOCK_AHEAD_SECONDS + 5)


def _millis(iso: str | None) -> int:
    """Milliseconds since the epoch of an ISO 8601 time; 0 where there is none."""
    return int(datetime.fromisoformat(iso).timestamp() * 1000) if iso else 0
