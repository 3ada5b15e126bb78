"""The registration of the supervisors: the calls to Druid, the waits and what ends it."""

import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import register
import requests
from druid_router import proxy, settings
from registration import druid, supervisors, wait
from registration.druid import DataMismatch, Druid, NotReady, Refused
from repository import ROOT, assert_one_sentence, run_script
from service.contract import topics

SLOTS = {"currentClusterCapacity": 9, "maximumCapacityWithAutoScale": -1, "usedClusterCapacity": 4}


class FakeDruid(Druid):
    """Answers by the end of the path and keeps what is posted. Without an answer there is no supervisor of anything."""

    def __init__(self, **answers: Any) -> None:
        super().__init__(settings("http://druid"))
        self.answers = {"supervisor": [], "tasks": [], "totalWorkerCapacity": SLOTS, **answers}
        self.posted: list[tuple[str, dict[str, Any], Any]] = []

    def ask(self, method: str, path: str, **options: Any) -> Any:
        if method == "POST":
            self.posted.append((path, options.get("params", {}), options.get("json")))
            return None
        return self.answers[path.rpartition("/")[2]]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits take no time: sleeping sets their clock."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(wait, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))


def test_a_wait_ends_with_the_last_thing_seen() -> None:
    def never() -> None:
        raise NotReady("only smoke")

    with pytest.raises(TimeoutError, match="waited 0 s for the fire: only smoke"):
        wait.wait_for("the fire", never, seconds=0)


@pytest.mark.usefixtures("clock")
def test_a_wait_ends_with_the_result() -> None:
    answers = iter([NotReady("not yet"), None])

    def soon() -> str:
        if answer := next(answers):
            raise answer
        return "here"

    assert wait.wait_for("it", soon, seconds=5) == "here"


@pytest.mark.usefixtures("clock")
def test_a_wait_since_the_last_change_goes_on_while_something_changes() -> None:
    left = iter([3, 2, 1, 1, 1, 1, 1])

    def check() -> None:
        raise NotReady(f"{next(left)} left")

    with pytest.raises(TimeoutError, match="1 left"):  # half a second each
        wait.wait_for("it", check, seconds=0.8, since_change=True)
    assert len(list(left)) == 2


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (json.dumps({"errorMessage": "bad spec", "error": "druidException"}), "bad spec"),
        (json.dumps({"error": "no such column"}), "no such column"),
        ("plain words", "plain words"),
        ("", "Bad Request"),
    ],
)
def test_the_reason_is_druids_own(body: str, expected: str) -> None:
    response = requests.Response()
    response.status_code, response.reason, response._content = 400, "Bad Request", body.encode()
    assert druid.reason(response) == expected


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b'{"id": "mine"}', {"id": "mine"}),
        (200, b"", None),
        (200, b"<html>", NotReady("the answer to /path is not JSON: '<html>'")),
        (400, b"bad spec", Refused("bad spec")),
        (404, b"starting", NotReady("/path answered 404: starting")),
        (503, b"no leader", NotReady("/path answered 503: no leader")),
    ],
)
def test_druids_answers(monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, expected: Any) -> None:
    response = requests.Response()
    response.status_code, response._content = status, body
    monkeypatch.setattr(requests.Session, "request", lambda *_, **__: response)
    if isinstance(expected, Exception):
        with pytest.raises(type(expected)) as error:
            Druid(settings("http://druid")).ask("GET", "/path")
        assert str(error.value) == str(expected)
    else:
        assert Druid(settings("http://druid")).ask("GET", "/path") == expected


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


def spec(topic: str, servers: str = "kafka0:29092", **more: Any) -> dict[str, Any]:
    """What the registration reads of a spec, in this repository or as Druid keeps it."""
    io = {"topic": topic, "consumerProperties": {"bootstrap.servers": servers}}
    return {"type": "kafka", "spec": {"ioConfig": io}, **more}


def supervisor(name: str, topic: str = "readings", **more: Any) -> dict[str, Any]:
    """As Druid lists one with `full`."""
    return {"id": name, "state": "RUNNING", "healthy": True, "suspended": False, "spec": spec(topic, **more)}


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


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """register.main() can be called: Kafka has all topics, and errors go to caplog."""
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(register.log, "configure", lambda _: None)
    monkeypatch.setattr(register.supervisors, "topic_ids", lambda _, names: dict.fromkeys(names, "of now"))
    return caplog


def test_everything_is_registered(monkeypatch: pytest.MonkeyPatch, called: pytest.LogCaptureFixture) -> None:
    fake = FakeDruid(status={"payload": {"detailedState": "RUNNING"}}, loadstatus=None)
    monkeypatch.setattr(register, "Druid", lambda _: fake)
    monkeypatch.setenv("KAFKA_RAW_TOPIC", "fleet")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "broker:1")
    assert register.main() == 0
    posted = [body for path, _, body in fake.posted if path.endswith("/supervisor")]
    ingested = [topic for topic in topics({"KAFKA_RAW_TOPIC": "fleet"}).values() if topic.datasource]
    assert [body["spec"]["ioConfig"]["topic"] for body in posted] == [topic.name for topic in ingested]
    assert ingested[0].name == "fleet"
    assert posted[0]["spec"]["ioConfig"]["consumerProperties"] == {"bootstrap.servers": "broker:1"}
    assert posted[0]["context"] == {"kafka_topic_id": "of now"}
    compacted = [body["dataSource"] for path, _, body in fake.posted if path.endswith("/config/compaction")]
    assert compacted == [topic.datasource.name for topic in ingested if topic.datasource]


def test_without_druid_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch, called: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(register, "WAIT_FOR", 0)
    monkeypatch.setenv("DRUID_URL", "http://127.0.0.1:1")
    assert register.main() == 1
    assert called.messages == [
        "The supervisors are not registered: waited 0 s for Druid: Druid does not answer at"
        " http://127.0.0.1:1 (it accepts no connection): check DRUID_URL."
    ]


def test_a_druid_that_asks_for_a_user_ends_it_at_once(
    monkeypatch: pytest.MonkeyPatch, called: pytest.LogCaptureFixture
) -> None:
    with proxy() as url:
        monkeypatch.setenv("DRUID_URL", url)
        assert register.main() == 1
    assert called.messages == [
        f"Druid at {url} asks for a user and a password: set DRUID_USER and DRUID_PASSWORD_FILE."
    ]


def test_tasks_and_replicas_are_those_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, called: pytest.LogCaptureFixture
) -> None:
    def posted(**settings: str) -> set[tuple[int, int]]:
        fake = FakeDruid(status={"payload": {"detailedState": "RUNNING"}}, loadstatus=None)
        monkeypatch.setattr(register, "Druid", lambda _: fake)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        assert register.main() == 0
        specs = [body["spec"]["ioConfig"] for path, _, body in fake.posted if path.endswith("/supervisor")]
        return {(io["taskCount"], io["replicas"]) for io in specs}

    assert posted() == {(1, 1)}
    assert posted(DRUID_REPLICAS="2") == {(1, 2)}
    assert posted(DRUID_TASK_COUNT="3") == {(3, 2)}


def test_a_mismatch_ends_it_at_once_and_nothing_is_registered(
    monkeypatch: pytest.MonkeyPatch, called: pytest.LogCaptureFixture
) -> None:
    known = [supervisor("sensor-data-rejected", "of-before", context={"kafka_topic_id": "of before"})]
    fake = FakeDruid(supervisor=known)
    monkeypatch.setattr(register, "Druid", lambda _: fake)
    assert register.main() == 1
    [message] = called.messages
    assert message.startswith("Druid's sensor-data-rejected was read from a topic that was removed")
    assert fake.posted == []


def test_a_refused_spec_is_one_sentence(monkeypatch: pytest.MonkeyPatch, called: pytest.LogCaptureFixture) -> None:
    class RefusingDruid(FakeDruid):
        def ask(self, method: str, path: str, **options: Any) -> Any:
            if method == "POST":
                raise Refused("no such column")
            return super().ask(method, path, **options)

    monkeypatch.setattr(register, "Druid", lambda _: RefusingDruid())
    assert register.main() == 1
    assert called.messages == ["Druid refused a supervisor: no such column"]


def test_a_stale_spec_is_refused_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, called: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(register, "SPECS", tmp_path / "supervisor-specs")
    monkeypatch.setattr(register, "Druid", None)
    assert register.main() == 2
    assert called.messages == ["supervisor-specs/sensor-data-raw.json is missing: run `make render`."]


def test_a_setting_that_is_not_allowed() -> None:
    result = run_script([sys.executable, str(ROOT / "supervisor-specs/register.py")], {"DRUID_URL": ""})
    assert result.returncode == 2
    assert_one_sentence(result.stderr)
    assert result.stderr.endswith(
        "Z ERROR supervisor-specs: DRUID_URL (or druid_url) is '': it must be the URL of a server, as in"
        ' "http://router:8888", without a user or a password in it.\n'
    )
