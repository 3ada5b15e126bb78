"""Generators of one fleet share its vehicles: they are the members of a consumer group that assigns no partitions.

Kafka's group protocol says who is a member, and ends each share before the next one begins. The leader of the group,
one of the members, gives each of them a share of the vehicles in the user data of its assignment, as Kafka Streams does
with its tasks. docs/decisions/0090-shared-fleet.md has the reasons.
"""

import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from threading import Condition, Event, Thread
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer
from kafka.admin import MemberToRemove
from kafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from kafka.errors import (
    AuthorizationError,
    FencedInstanceIdError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
    KafkaError,
)
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment, ConsumerProtocolSubscription
from kafka_client import KafkaClient, NoAccess

from generator.fleet import Share

# Seconds since Kafka's last answer after which a generator stops sending. A record waits as long for its delivery, so a
# shorter outage of Kafka costs no reading.
LEASE = 120
# Seconds without a heartbeat after which Kafka takes a generator for dead and gives its vehicles to others, unless it
# is started again before. Longer than the lease, because the answer may take 30 s, and the end of the sending 10 s.
SESSION_TIMEOUT = LEASE + 60
HEARTBEAT_INTERVAL = 1  # seconds; a member sees within this time that others come or go
WAIT_FOR_SHARE = SESSION_TIMEOUT + 30  # seconds: as long as a dead member can keep the others waiting
WAIT_FOR_LEAVING = 2

# What a new attempt to join can't change
FINAL = (
    AuthorizationError,
    FencedInstanceIdError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
)

logger = logging.getLogger(__name__)


class Shares(AbstractPartitionAssignor):
    """Assigns a share of the vehicles to each member with the same fleet, and no partitions."""

    name = "vehicles"
    version = 0

    def __init__(self, fleet: str, on_share: Callable[[Share], None]) -> None:
        self._fleet = fleet.encode()
        self._on_share = on_share

    def metadata(self, topics: Collection[str]) -> Any:
        return ConsumerProtocolSubscription(self.version, list(topics), self._fleet)

    def assign(self, cluster: object, members: Collection[Any]) -> dict[str, Any]:
        fleets = defaultdict(list)
        for member in members:
            fleets[member.metadata.user_data].append((member.group_instance_id or "", member.member_id))
        return {
            member_id: ConsumerProtocolAssignment(self.version, [], json.dumps((number, len(ids))).encode())
            for ids in fleets.values()
            for number, (_, member_id) in enumerate(sorted(ids))
        }

    def on_assignment(self, assignment: Any, generation: int) -> None:
        self._on_share(Share(*json.loads(assignment.user_data)))


class Member(ConsumerRebalanceListener):
    """The membership of this generator. A thread of its own keeps it alive, whatever the sending one waits for.

    A share that was taken must be given back before others can have its vehicles: the group waits for that.
    """

    def __init__(self, kafka: KafkaClient, group: str, topic: str, fleet: str, instance: str) -> None:
        """Join the group of all generators; those with the same `fleet` share it. Raises KafkaError.

        `instance` is this generator's own and stays the same when it is started again. Kafka's protocol wants a topic:
        `topic` may be any that exists.
        """
        self._kafka, self._group, self._instance = kafka, group, instance
        self._changed = Condition()
        self._share: Share | None = None
        self._assigned_at = 0.0
        self._taken = False
        self._error: KafkaError | None = None
        self._leaving = Event()
        self._consumer = KafkaConsumer(
            **kafka.options(),
            group_id=group,
            group_instance_id=instance,
            partition_assignment_strategy=[Shares(fleet, self._on_share)],
            session_timeout_ms=SESSION_TIMEOUT * 1000,
            heartbeat_interval_ms=HEARTBEAT_INTERVAL * 1000,
            enable_auto_commit=False,
            allow_auto_create_topics=False,
        )
        self._consumer.subscribe([topic], listener=self)
        # The leader joins again when it learns of the topic's partitions: it knows them before it joins at all.
        self._consumer.topics()
        self._thread = Thread(target=self._stay, name="membership", daemon=True)
        self._thread.start()

    def take(self, stopping: Callable[[], bool]) -> Share | None:
        """Wait for a share of the vehicles; None if `stopping` becomes true. Raises KafkaError."""
        with self._changed:
            while True:
                if self._error:
                    raise self._error
                if stopping():
                    return None
                if self._share and not self._is_expired():
                    self._taken = True
                    return self._share
                self._changed.wait(0.2)

    def take_first(self) -> Share:
        """take(), but raises NoAccess after WAIT_FOR_SHARE seconds."""
        deadline = time.monotonic() + WAIT_FOR_SHARE
        if share := self.take(lambda: time.monotonic() > deadline):
            return share
        raise NoAccess(
            f"Kafka at {self._kafka.servers} gave this generator no vehicles for {WAIT_FOR_SHARE} s: check that the"
            f" topic __consumer_offsets has a leader, and that no other program uses the consumer group {self._group}"
            " (KAFKA_GENERATOR_GROUP_ID)."
        )

    def is_over(self) -> bool:
        """Whether the share must be given back now."""
        return self._share is None or self._error is not None or self._is_expired()

    def give_back(self) -> None:
        """To be called when all readings of the share are delivered or given up."""
        with self._changed:
            self._taken = False
            self._changed.notify_all()

    def leave(self) -> bool:
        """Let the others have the vehicles at once; whether that was possible. If not, the session timeout does it."""
        self.give_back()
        self._leaving.set()
        self._thread.join(timeout=WAIT_FOR_LEAVING)
        try:
            with KafkaAdminClient(**self._kafka.options(), bootstrap_timeout_ms=WAIT_FOR_LEAVING * 1000) as admin:
                admin.remove_group_members(self._group, [MemberToRemove(group_instance_id=self._instance)])
        except KafkaError as error:
            logger.debug("the group was not left: %s", error)
            return False
        return True

    def on_partitions_revoked(self, revoked: object) -> None:
        """The group is to be shared anew, which waits until this returns."""
        with self._changed:
            self._share = None
            self._changed.wait_for(lambda: not self._taken)

    def on_partitions_assigned(self, assigned: object) -> None:
        """_on_share() has been called."""

    def _on_share(self, share: Share) -> None:
        with self._changed:
            self._share, self._assigned_at = share, time.monotonic()
            self._changed.notify_all()

    def _is_expired(self) -> bool:
        # kafka-python has no public time of the last answer: its metrics have the time of the last request.
        answered = self._consumer._coordinator.heartbeat.last_receive
        return time.monotonic() - max(answered, self._assigned_at) > LEASE

    def _fail(self, error: KafkaError) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def _stay(self) -> None:
        """Join, and join again whenever the group is shared anew. Heartbeats come from the consumer itself."""
        while not self._leaving.is_set():
            try:
                # poll() returns late where there is nothing to fetch.
                self._consumer.poll(timeout_ms=0 if self._share else 500)
            except InconsistentGroupProtocolError:
                self._fail(
                    NoAccess(
                        f"The consumer group {self._group} at {self._kafka.servers} has members that are no generators:"
                        " set KAFKA_GENERATOR_GROUP_ID (or kafka_generator_group_id) to another name."
                    )
                )
                break
            except FINAL as error:
                self._fail(error)
                break
            except KafkaError as error:
                logger.debug("the group is not reached: %s", error)
            except Exception as error:  # or the heartbeats, which go on, would keep a share that is never given back
                self._fail(KafkaError(f"{type(error).__name__}: {error}"))
                break
            if self._share:
                self._leaving.wait(0.5)
        self._consumer.close(timeout_ms=WAIT_FOR_LEAVING * 1000)
