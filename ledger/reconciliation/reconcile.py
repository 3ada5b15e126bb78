"""Reads Kafka and asks Druid until nothing is under way, or the time is over."""

import time
from collections.abc import Mapping
from dataclasses import replace
from operator import attrgetter

from service.contract import Topic

from reconciliation.druid import Druid, DruidError
from reconciliation.ledger import Ledger
from reconciliation.progress import Offsets, Progress, unread
from reconciliation.result import Reconciliation, Rows
from reconciliation.topics import KafkaTopics
from reconciliation.verdict import UNDER_WAY, verdict


def reconcile(
    kafka: KafkaTopics, druid: Druid, topics: Mapping[str, Topic], wait: float
) -> tuple[Reconciliation, Rows]:
    """The reconciliation and Druid's rows, as soon as nothing is under way or `wait` seconds have passed.

    Raises KafkaError, DruidError and, when a progress token of the windows job is invalid, ValueError.
    """
    raw, tokens = topics["raw"].name, topics["progress"].name
    deadline = time.monotonic() + wait
    progress, read = Progress(raw), kafka.first(tokens)
    while True:
        # To read the topics takes long. It begins when the windows job has read them, or the time is over.
        read = follow(kafka, tokens, progress, read)
        if time.monotonic() < deadline and unread(progress.offsets, kafka.first(raw), kafka.end(raw)):
            time.sleep(1)
            continue
        found = count(kafka, topics, progress)
        while True:
            rows = None
            try:
                rows = druid.rows(topics)
            except DruidError:  # it may be starting
                if time.monotonic() >= deadline:
                    raise
            # Druid may have rows of records that came after the count; then they are counted again.
            left = unread(progress.offsets, kafka.first(raw), kafka.end(raw))
            found = replace(found, unread=left, outdated=kafka.end(tokens) != read)
            if rows and (verdict(found, rows, topics)[0] != UNDER_WAY or time.monotonic() >= deadline):
                return found, rows
            time.sleep(1)
            if found.unread or found.outdated:
                break


def follow(kafka: KafkaTopics, topic: str, progress: Progress, first: Offsets) -> Offsets:
    """Add the tokens from `first` on to `progress`, until there are no more; the offsets where they end."""
    while (end := kafka.end(topic)) != first:
        for _, records in kafka.read(topic, first, end, committed=True):
            for record in records:
                progress.add(record.value)
        first = end
    return first


def count(kafka: KafkaTopics, topics: Mapping[str, Topic], progress: Progress) -> Reconciliation:
    """The reconciliation of all that the windows job has done up to the last token."""
    ledger = Ledger(progress)
    for role, add in (("rejected", ledger.add_rejected), ("aggregated", ledger.add_window)):
        topic = topics[role].name
        for partition, records in kafka.read(topic, kafka.first(topic), kafka.end(topic), committed=True):
            for record in records:
                add(partition, record.offset, record.value)
    raw = topics["raw"].name
    first, end = kafka.first(raw), kafka.end(raw)
    # Only what the job has read.
    read_up_to = {p: max(first[p], min(progress.offsets.get(p, 0), end[p])) for p in end}
    for partition, records in kafka.read(raw, first, read_up_to, committed=False):
        ledger.add_records(partition, map(attrgetter("offset", "value"), records))
    return ledger.close(first, end)
