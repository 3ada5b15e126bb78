"""What the diagnosis asks Kafka."""

import json
import socket
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import KafkaError
from kafka_client import KafkaClient, NoAccess, await_access

from diagnosis.seen import Ends, FoundTopic, Offsets

TIMEOUT = 5  # seconds for an answer
LOGIN_TIMEOUT = 10  # seconds; await_access() needs several attempts to name a refused login
READ_TIMEOUT = 3  # seconds to read a few records
READ_LIMIT = 64 * 2**20  # bytes of values to read: a rejected record has up to 1.4 MiB, and the container little memory


class NotReachable(Exception):
    """Nothing accepts a connection at the address; the text says why."""


class NoAnswer(Exception):
    """What accepts the connection does not answer as Kafka does."""


class Kafka:
    """A Kafka cluster. The methods raise KafkaError when it stops answering."""

    def __init__(self, client: KafkaClient) -> None:
        """Connect. Raises NotReachable, NoAnswer and NoAccess."""
        probe(client.servers)
        self._options = client.options()
        try:
            await_access(client, LOGIN_TIMEOUT)
            self._admin = KafkaAdminClient(
                **self._options, bootstrap_timeout_ms=TIMEOUT * 1000, request_timeout_ms=TIMEOUT * 1000
            )
        except NoAccess:  # a KafkaError, too
            raise
        except KafkaError as error:
            raise NoAnswer(str(error)) from error

    def topics(self, names: Collection[str]) -> dict[str, FoundTopic]:
        """Those of the topics that exist, by name."""
        found = {topic["name"]: topic for topic in self._admin.describe_topics(list(names)) if not topic["error_code"]}
        if not found:
            return {}
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in found]
        configs = self._admin.describe_configs(resources, config_filter="all")["topic"]
        return {
            name: FoundTopic(
                str(topic["topic_id"]),
                len(topic["partitions"]),
                {key: setting["value"] for key, setting in configs[name].items()},
            )
            for name, topic in found.items()
        }

    def ends(self, topics: Mapping[str, FoundTopic]) -> dict[str, Ends]:
        """The offsets of each topic."""
        places = [TopicPartition(name, p) for name, topic in topics.items() for p in range(topic.partitions)]
        committed = self._offsets(places, OffsetSpec.LATEST, "READ_COMMITTED")
        first, end = self._offsets(places, OffsetSpec.EARLIEST), self._offsets(places, OffsetSpec.LATEST)
        return {name: Ends(first[name], committed[name], end[name]) for name in topics}

    def _offsets(
        self, places: Iterable[TopicPartition], which: int, isolation_level: str = "READ_UNCOMMITTED"
    ) -> dict[str, Offsets]:
        asked = dict.fromkeys(places, which)
        found: dict[str, Offsets] = {}
        for place, answer in self._admin.list_partition_offsets(asked, isolation_level=isolation_level).items():
            found.setdefault(place.topic, {})[place.partition] = answer.offset
        return found

    def newest_time(self, name: str, topic: FoundTopic) -> int:
        """The newest timestamp of a topic's records, in milliseconds since the epoch; -1 if it has none."""
        asked = {TopicPartition(name, p): OffsetSpec.MAX_TIMESTAMP for p in range(topic.partitions)}
        return max(int(answer.timestamp) for answer in self._admin.list_partition_offsets(asked).values())

    def transactional_ids(self, topic: str, partition: int) -> list[str]:
        """The ids of the producers that have a transaction open in this partition."""
        place = TopicPartition(topic, partition)
        producers = self._admin.describe_producers([place])[place].active_producers
        open_there = {each.producer_id for each in producers if each.current_transaction_start_offset >= 0}
        listed = [each for some in self._admin.list_transactions().values() for each in some]
        return sorted(each.transactional_id for each in listed if each.producer_id in open_there)

    def newest(self, topic: str, ends: Ends, number: int) -> list[Any]:
        """The JSON objects among the last `number` offsets of a topic's committed records, oldest first."""
        starts = {p: max(first, ends.committed[p] - number) for p, first in ends.first.items()}
        values = []
        for record in self.read(topic, starts, ends.committed):
            try:
                values.append(json.loads(record.value or b""))
            except (ValueError, RecursionError):
                continue
        return [value for value in values if isinstance(value, dict)]

    def read(self, topic: str, starts: Offsets, ends: Offsets, enough: int | None = None) -> list[Any]:
        """The committed records between these offsets; `enough` records suffice. Stops early at READ_LIMIT."""
        places = {TopicPartition(topic, p): start for p, start in starts.items() if start < ends[p]}
        if not places:
            return []
        consumer = KafkaConsumer(
            **self._options,
            bootstrap_timeout_ms=TIMEOUT * 1000,
            request_timeout_ms=TIMEOUT * 1000,
            isolation_level="read_committed",
            enable_auto_commit=False,
            allow_auto_create_topics=False,
        )
        try:
            consumer.assign(list(places))
            for place, start in places.items():
                consumer.seek(place, start)
            records: list[Any] = []
            size = 0
            deadline = time.monotonic() + READ_TIMEOUT
            while time.monotonic() < deadline and any(consumer.position(p) < ends[p.partition] for p in places):
                for some in consumer.poll(timeout_ms=200).values():
                    records += some
                    size += sum(len(record.value or b"") for record in some)
                if size >= READ_LIMIT or (enough is not None and len(records) >= enough):
                    break
            return records
        finally:
            consumer.close()


def probe(servers: str) -> None:
    """Raise NotReachable unless one of the addresses accepts a connection."""
    reasons = []
    for server in servers.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=TIMEOUT).close()
            return
        except (OSError, OverflowError, UnicodeError) as error:
            reasons.append(str(error))
    raise NotReachable("; ".join(dict.fromkeys(reasons)))
