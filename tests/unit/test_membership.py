"""What the leader of the generators' group gives to its members. tests/integration shows the group itself."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from generator.fleet import Share
from generator.membership import HEARTBEAT_INTERVAL, LEASE, SESSION_TIMEOUT, Shares
from generator.run import WAIT_FOR_ACKNOWLEDGEMENTS
from kafka import KafkaConsumer, KafkaProducer
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment, ConsumerProtocolSubscription


def shares(fleet: str) -> Shares:
    return Shares(fleet, lambda _: None)


def member(fleet: str, instance: str) -> Any:
    """A member as the coordinator tells the leader of it."""
    subscription = ConsumerProtocolSubscription.decode(shares(fleet).metadata({"runs"}).encode())
    return SimpleNamespace(member_id=f"{instance}-1", group_instance_id=instance, metadata=subscription)


def test_members_of_a_fleet_get_equal_shares_and_no_partitions_in_the_order_of_their_ids() -> None:
    members = [member("raw", "b"), member("raw", "c"), member("other", "x"), member("raw", "a")]
    assigned = shares("raw").assign(None, members)
    assert all(assignment.partitions() == [] for assignment in assigned.values())
    found = {name: tuple(json.loads(assignment.user_data)) for name, assignment in assigned.items()}
    assert found == {"a-1": (0, 3), "b-1": (1, 3), "c-1": (2, 3), "x-1": (0, 1)}


def test_a_member_takes_its_share_from_the_bytes_of_the_assignment() -> None:
    taken: list[Share] = []
    [assignment] = shares("raw").assign(None, [member("raw", "a")]).values()
    Shares("raw", taken.append).on_assignment(ConsumerProtocolAssignment.decode(assignment.encode()), 1)
    assert taken == [Share(0, 1)]


def test_a_generator_has_stopped_before_kafka_takes_it_for_dead() -> None:
    answer = KafkaConsumer.DEFAULT_CONFIG["request_timeout_ms"] / 1000
    assert LEASE + answer + WAIT_FOR_ACKNOWLEDGEMENTS < SESSION_TIMEOUT


def test_an_outage_costs_readings_only_if_it_is_longer_than_a_record_waits_for_its_delivery() -> None:
    assert KafkaProducer.DEFAULT_CONFIG["delivery_timeout_ms"] / 1000 == pytest.approx(LEASE)
    assert HEARTBEAT_INTERVAL * 3 < LEASE
