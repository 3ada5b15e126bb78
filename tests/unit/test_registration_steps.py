"""The steps of a registration, each with the answers of Druid that end it or let it be repeated."""

from typing import Any

import pytest
from registration import supervisors
from registration.druid import DataMismatch, NotReady
from registration_fakes import SLOTS, FakeDruid, spec, supervisor
from repository import assert_one_sentence


@pytest.mark.parametrize(
    "capacity",
    [
        SLOTS,
        {"currentClusterCapacity": 0, "maximumCapacityWithAutoScale": 12},  # servers are started when there are tasks
        {"currentClusterCapacity": -1, "maximumCapacityWithAutoScale": -1},  # of a task runner that doesn't know it
        {"currentClusterCapacity": 2147483647},
    ],
)
def test_every_kind_of_cluster_that_can_run_tasks_is_ready(capacity: dict[str, int]) -> None:
    supervisors.check_druid(FakeDruid(totalWorkerCapacity=capacity))


def test_a_cluster_without_a_server_for_tasks_is_not_ready() -> None:
    empty = {"currentClusterCapacity": 0, "maximumCapacityWithAutoScale": -1}
    with pytest.raises(NotReady, match="no task slot yet"):
        supervisors.check_druid(FakeDruid(totalWorkerCapacity=empty))


def test_a_supervisor_that_was_terminated_is_registered_when_its_tasks_have_published() -> None:
    tasks = [{"id": "index_kafka_one_1"}]
    supervisors.check_terminated(FakeDruid(supervisor=["one"], tasks=tasks), "one")
    supervisors.check_terminated(FakeDruid(supervisor=["other"], tasks=[]), "one")
    with pytest.raises(NotReady, match="^1 of its tasks still publish, as it was terminated$"):
        supervisors.check_terminated(FakeDruid(supervisor=["other"], tasks=tasks), "one")


@pytest.mark.parametrize(
    "known",
    [
        [],
        [supervisor("mine")],  # registered before ids were kept
        [supervisor("mine", context=None)],
        [supervisor("mine", context={"other": 1})],
        [supervisor("mine", context={"kafka_topic_id": "one"})],
        [supervisor("another", context={"kafka_topic_id": "two"})],
    ],
)
def test_a_supervisor_of_the_same_topic_matches(known: list[dict[str, Any]]) -> None:
    fake = FakeDruid(supervisor=known)
    supervisors.check_topics(fake, {"mine": spec("readings")}, {"readings": "one"})
    assert fake.posted == []


def test_supervisors_of_deleted_topics_are_refused_and_suspended() -> None:
    of_before = {"context": {"kafka_topic_id": "of before"}}
    fake = FakeDruid(supervisor=[supervisor("another"), *(supervisor(name, **of_before) for name in ("mine", "yours"))])
    specs = {name: spec("readings") for name in ("mine", "yours", "new")}
    with pytest.raises(DataMismatch, match="Druid's mine was read from a topic that was removed") as error:
        supervisors.check_topics(fake, specs, {"readings": "one"})
    assert_one_sentence(str(error.value))
    assert [path for path, _, _ in fake.posted] == [
        f"/druid/indexer/v1/supervisor/{name}/suspend" for name in ("mine", "yours")
    ]


@pytest.mark.parametrize("known", [{"topic": "of-others"}, {"topic": "readings", "servers": "theirs:9092"}])
def test_a_supervisor_of_a_topic_of_others_is_refused_and_goes_on(known: dict[str, Any]) -> None:
    fake = FakeDruid(supervisor=[supervisor("mine", **known, context={"kafka_topic_id": "theirs"})])
    with pytest.raises(DataMismatch, match="Druid's mine was read from a topic that was removed or has another name"):
        supervisors.check_topics(fake, {"mine": spec("readings")}, {"readings": "one"})
    assert fake.posted == []


def test_a_spec_is_posted_with_its_topics_id() -> None:
    fake = FakeDruid()
    supervisors.register(fake, {"type": "kafka"}, "one")
    supervisors.register(fake, {"type": "kafka", "context": {"priority": 5}}, "one")
    path, options = "/druid/indexer/v1/supervisor", {"skipRestartIfUnmodified": "true"}
    assert fake.posted == [
        (path, options, {"type": "kafka", "context": {"kafka_topic_id": "one"}}),
        (path, options, {"type": "kafka", "context": {"priority": 5, "kafka_topic_id": "one"}}),
    ]


def test_a_datasource_is_compacted_to_the_granularity_of_its_spec() -> None:
    fake = FakeDruid()
    granularity = {"segmentGranularity": "MONTH", "queryGranularity": "NONE"}
    supervisors.compact(fake, {"spec": {"dataSchema": {"dataSource": "mine", "granularitySpec": granularity}}})
    wanted = {"dataSource": "mine", "granularitySpec": {"segmentGranularity": "MONTH"}}
    assert fake.posted == [("/druid/coordinator/v1/config/compaction", {}, wanted)]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"detailedState": "RUNNING"}, None),
        ({"detailedState": "CONNECTING_TO_STREAM"}, "CONNECTING_TO_STREAM"),
        (
            {"detailedState": "LOST_CONTACT", "recentErrors": [{"message": "old"}, {"exceptionClass": "Timeout"}]},
            "LOST_CONTACT: Timeout",
        ),
    ],
)
def test_a_supervisor_that_does_not_run_says_why(state: dict[str, Any], expected: str | None) -> None:
    fake = FakeDruid(status={"payload": state})
    if expected is None:
        supervisors.check_running(fake, "mine")
    else:
        with pytest.raises(NotReady) as error:
            supervisors.check_running(fake, "mine")
        assert str(error.value) == expected


@pytest.mark.parametrize("left", [None, {"mine": 0}])
def test_loaded_segments_are_fine(left: dict[str, int] | None) -> None:
    supervisors.check_segments(FakeDruid(loadstatus=left), "mine")


def test_segments_whose_files_are_missing_are_counted() -> None:
    with pytest.raises(NotReady, match="5 segments of mine are not loaded; if their files were removed"):
        supervisors.check_segments(FakeDruid(loadstatus={"mine": 5}), "mine")
