"""Verify that every record of the raw topic is accounted for, in Kafka and in Druid: print the books and a verdict.

Exits with 0 when the books close, 1 when they do not or can't be read, 3 when something is still under way.
"""

import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from operator import attrgetter
from typing import Any

import requests
from kafka.errors import KafkaError, KafkaTimeoutError

from kafka import KafkaConsumer, TopicPartition

from ledger import AGGREGATED, PROGRESS, RAW, REJECTED, Books, Ledger, Progress, Rows, unread
from report import UNDER_WAY, table, verdict

# Script configuration
wait = 0  # seconds to wait for what is under way; 0 tells how things are now

# Kafka configuration
kafka_bootstrap_servers = "kafka0:29092"

# Druid configuration
druid_url = "http://router:8888"

CONNECT_TIMEOUT = 10  # seconds for Kafka's first answer
QUERY_TIMEOUT = 60  # seconds for an answer of Druid
# Seconds without a record while there are more. A killed job's transaction hides what comes after it for up to 70.
SILENCE_LIMIT = 90
PROGRESS_LINE = 5  # seconds between two lines on how far it has read

Offsets = dict[int, int]  # by partition


class NoAnswer(Exception):
    """Druid doesn't answer as it should; the text says what was seen."""


def connect(servers: str, isolation_level: str) -> KafkaConsumer:
    """A consumer without a group; raises KafkaError when the broker can't be reached."""
    return KafkaConsumer(
        bootstrap_servers=servers,
        bootstrap_timeout_ms=CONNECT_TIMEOUT * 1000,
        isolation_level=isolation_level,
        auto_offset_reset="earliest",  # when retention removes what is just being read
        enable_auto_commit=False,
        allow_auto_create_topics=False,
        max_partition_fetch_bytes=8 * 2**20,
    )


class Topics:
    """Reads topics of one Kafka, each up to an end that was asked before."""

    def __init__(self, servers: str) -> None:
        self._all = connect(servers, "read_uncommitted")
        self._committed = connect(servers, "read_committed")

    def first(self, topic: str) -> Offsets:
        return self._offsets(topic, self._all.beginning_offsets)

    def end(self, topic: str) -> Offsets:
        """Exclusive, behind what transactions have written that are still open.

        A transaction ends in one partition a moment before it does in another: whoever reads committed records up to
        here has all that belongs to what was seen elsewhere before.
        """
        return self._offsets(topic, self._all.end_offsets)

    def _offsets(self, topic: str, ask: Any) -> Offsets:
        partitions = self._all.partitions_for_topic(topic)
        if not partitions:
            raise KafkaError(f"there is no topic {topic}; kafka/create_topics.py creates it")
        return {
            where.partition: offset for where, offset in ask([TopicPartition(topic, p) for p in partitions]).items()
        }

    def read(self, topic: str, first: Offsets, end: Offsets, committed: bool) -> Iterator[tuple[int, list[Any]]]:
        """Partition and records, some thousands at a time, from `first` up to `end`; raises KafkaError.

        One partition after the other: so nothing is fetched behind an end.
        """
        consumer = self._committed if committed else self._all
        done, total = 0, sum(end[p] - first[p] for p in end)
        line_at = time.monotonic() + PROGRESS_LINE
        for partition in sorted(end):
            where = TopicPartition(topic, partition)
            consumer.assign([where])
            consumer.seek(where, first[partition])
            position, heard = first[partition], time.monotonic()
            while position < end[partition]:
                records = consumer.poll(timeout_ms=200, max_records=50_000).get(where, [])
                now = time.monotonic()
                reached = consumer.position(where)
                if reached > position:
                    done, position, heard = done + reached - position, reached, now
                elif now - heard > SILENCE_LIMIT:
                    raise KafkaTimeoutError(f"no record of {topic} came for {SILENCE_LIMIT} s")
                if records and records[-1].offset >= end[partition]:
                    records = [record for record in records if record.offset < end[partition]]
                yield partition, records
                if now > line_at:
                    line_at = now + PROGRESS_LINE
                    print(f"read {min(done, total):,} of {total:,} records of {topic}", file=sys.stderr, flush=True)


def follow(topics: Topics, progress: Progress, first: Offsets) -> Offsets:
    """Let `progress` take up the tokens from `first` on, until there are no more; returns where they end."""
    while (end := topics.end(PROGRESS)) != first:
        for _, records in topics.read(PROGRESS, first, end, committed=True):
            for record in records:
                progress.add(record.value)
        first = end
    return first


def count(topics: Topics, progress: Progress) -> Books:
    """The books over all that the windows job has done up to the last token."""
    ledger = Ledger(progress)
    for topic, add in ((REJECTED, ledger.add_reject), (AGGREGATED, ledger.add_window)):
        for partition, records in topics.read(topic, topics.first(topic), topics.end(topic), committed=True):
            for record in records:
                add(partition, record.offset, record.value)
    first, end = topics.first(RAW), topics.end(RAW)
    # What the job has not read is not read here either.
    read_up_to = {p: max(first[p], min(progress.offsets.get(p, 0), end[p])) for p in end}
    for partition, records in topics.read(RAW, first, read_up_to, committed=False):
        ledger.add_records(partition, map(attrgetter("offset", "value"), records))
    return ledger.close(first, end)


def sql(query: str) -> dict[str, Any]:
    """The one row that Druid answers, counts being exact; empty where it doesn't know the datasource yet."""
    url = setting("druid_url")
    request = {"query": query, "context": {"useApproximateCountDistinct": False}}
    try:
        response = requests.post(f"{url}/druid/v2/sql", json=request, timeout=QUERY_TIMEOUT)
        # Nor does it know a column before a task has told it of one.
        if response.status_code == 400 and "not found" in response.text:
            return {}
        if not response.ok:
            raise NoAnswer(f"Druid answered {response.status_code} to {query}: {response.text.strip()[:200]}")
        return dict(response.json()[0])
    except requests.RequestException as error:
        raise NoAnswer(f"no answer from Druid at {url} ({type(error).__name__})") from error
    except (ValueError, LookupError, TypeError) as error:
        raise NoAnswer(f"Druid at {url} answered something else than rows to {query}") from error


def druid_rows() -> Rows:
    """What Druid's datasources hold; raises NoAnswer."""
    windows = sql(f'SELECT COUNT(*) AS n, SUM("count") AS counted FROM "{AGGREGATED}"')
    doubled = f'SELECT __time, entity FROM "{AGGREGATED}" GROUP BY 1, 2 HAVING COUNT(*) > 1'
    return Rows(
        readings=sql(f'SELECT COUNT(*) AS n FROM "{RAW}"').get("n", 0),
        windows=windows.get("n", 0),
        counted=windows.get("counted") or 0,
        rejected=sql(f'SELECT COUNT(*) AS n FROM "{REJECTED}"').get("n", 0),
        twice=sql(f"SELECT COUNT(*) AS n FROM ({doubled})").get("n", 0),
    )


def verify(topics: Topics, seconds: float) -> tuple[Books, Rows]:
    """The books and what Druid has, as soon as nothing is under way, or after `seconds`.

    Raises KafkaError, NoAnswer and, where the windows job's tokens can't be read, ValueError.
    """
    deadline = time.monotonic() + seconds
    progress, read = Progress(), topics.first(PROGRESS)
    while True:
        # To read the topics takes long: that has to wait until the windows job has read them, or the time is over.
        read = follow(topics, progress, read)
        if time.monotonic() < deadline and unread(progress.offsets, topics.first(RAW), topics.end(RAW)):
            time.sleep(1)
            continue
        books = count(topics, progress)
        while True:
            druid = None
            try:
                druid = druid_rows()
            except NoAnswer:  # it may be starting
                if time.monotonic() >= deadline:
                    raise
            # Druid may have what came after the books were counted: then they are counted again.
            left = unread(progress.offsets, topics.first(RAW), topics.end(RAW))
            books = replace(books, unread=left, moved=topics.end(PROGRESS) != read)
            if druid and (verdict(books, druid)[0] != UNDER_WAY or time.monotonic() >= deadline):
                return books, druid
            time.sleep(1)
            if books.unread or books.moved:
                break


def setting(name: str) -> str:
    """The constant `name`, or the environment variable of the same name in capitals where it is set."""
    return os.environ.get(name.upper(), str(globals()[name]))


def wait_seconds() -> float:
    """The constant `wait` as overridden; ends the program where it is not allowed."""
    try:
        seconds = float(setting("wait"))
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        print(f"WAIT (or wait) is {setting('wait')!r}: it must be a number of seconds, 0 or more.", file=sys.stderr)
        sys.exit(2)
    return seconds


def main() -> None:
    seconds, servers = wait_seconds(), setting("kafka_bootstrap_servers")
    try:
        books, druid = verify(Topics(servers), seconds)
    except KafkaError as error:
        sys.exit(f"The books can't be read: Kafka at {servers}: {error}.")
    except (NoAnswer, ValueError) as error:
        sys.exit(f"The books can't be read: {error}.")
    except KeyboardInterrupt:
        sys.exit(130)
    code, sentence = verdict(books, druid)
    print(f"{table(books, druid)}\n\n{sentence}", flush=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
