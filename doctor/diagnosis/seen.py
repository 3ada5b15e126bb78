"""What was seen of Kafka, Druid and the windows job, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Offsets = dict[int, int]  # by partition


@dataclass(frozen=True)
class FoundTopic:
    """A topic as it is in Kafka."""

    id: str
    partitions: int
    config: Mapping[str, str]  # all of its settings


@dataclass(frozen=True)
class Ends:
    """The offsets of a topic: the first, the end of the committed records, and the end with open transactions."""

    first: Offsets
    committed: Offsets
    end: Offsets


@dataclass(frozen=True)
class Supervisor:
    """An ingestion supervisor of Druid."""

    status: Mapping[str, Any]  # state, detailedState, healthy, suspended, recentErrors
    topic_id: str | None  # of the topic that it was registered for


@dataclass(frozen=True)
class JobReport:
    """The windows job's state file and failure file; None where there is no file."""

    state: Mapping[str, Any] | None
    failure: Mapping[str, Any] | None
    unreadable: str = ""  # why the state file can't be read
