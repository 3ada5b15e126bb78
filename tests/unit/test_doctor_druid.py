"""The doctor's checks of Druid: literal values in, sentences out; and what it asks Druid."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
from diagnosis import druid_checks, druid_state
from diagnosis.seen import Ends, FoundTopic, Supervisor
from druid_router import settings
from registration.supervisors import TOPIC_ID
from service import contract
from service.druid import DruidError

TOPICS = contract.topics()
RAW = "sensor-data-raw"
RUNNING: dict[str, Any] = {"detailedState": "RUNNING", "healthy": True, "suspended": False, "recentErrors": []}
SERVERS = [("a:1", "coordinator"), ("a:1", "overlord"), ("b:2", "broker"), ("c:3", "historical"), ("d:4", "indexer")]
HEALTHY = {t.datasource.name: Supervisor(RUNNING, "id") for t in TOPICS.values() if t.datasource}
FOUND = {t.name: FoundTopic("id", t.partitions, {}) for t in TOPICS.values()}


def findings(**changed: Supervisor) -> list[str]:
    """What is found when these supervisors, by the role of the topic, are others."""
    other = {TOPICS[role].name: supervisor for role, supervisor in changed.items()}
    return druid_checks.supervisors(TOPICS.values(), HEALTHY | other, FOUND)


def test_a_complete_druid_is_no_finding() -> None:
    assert druid_checks.missing_servers(SERVERS) == []
    assert druid_checks.missing_servers([*SERVERS[:-1], ("d:4", "middle_manager")]) == []
    assert findings() == []


def test_a_router_that_is_not_reachable_is_to_be_started_if_it_is_the_stacks_own() -> None:
    assert druid_checks.router_not_reachable("http://router:8888", "it accepts no connection") == (
        "Druid's router is not reachable at http://router:8888 (it accepts no connection). Start it with `make up`"
        " (`docker compose up`); if it ends again, the cause is in router.log in .local/stack/logs"
        " (`docker compose logs router`)."
    )
    assert druid_checks.router_not_reachable("https://druid.test", "it accepts no connection") == (
        "Druid's router is not reachable at https://druid.test (it accepts no connection). Check DRUID_URL and that"
        " server; containers reach other machines only with CLOSED_NETWORK=false in .env."
    )


@pytest.mark.parametrize("service", ["coordinator", "broker", "historical", "indexer"])
def test_a_missing_server_is_named(service: str) -> None:
    servers = [(address, kind) for address, kind in SERVERS if kind != service]
    assert druid_checks.missing_servers(servers) == [
        f"Druid has no {service}: `make up` (`docker compose up`) starts it; if it ends again, the cause is in"
        f" {service}.log in .local/stack/logs (`docker compose logs {service}`)."
    ]


@pytest.mark.parametrize(
    ("kind", "service"),
    [("overlord", "coordinator"), ("middle_manager", "indexer"), ("router", "router"), ("historical", "historical")],
)
def test_a_server_that_hangs_is_named_as_the_service_that_it_is(kind: str, service: str) -> None:
    assert druid_checks.silent_server("a:1", kind, "no answer within 5 s") == (
        f"Druid's {service} at a:1 does not answer: no answer within 5 s. If it has ended, `make up` (`docker compose"
        " up`) starts it; if it runs and hangs, restart it with `make down` and `make up` (`docker compose restart"
        f" {service}`). Its log is {service}.log in .local/stack/logs (`docker compose logs {service}`)."
    )


def test_missing_supervisors_are_named() -> None:
    found = {name: supervisor for name, supervisor in HEALTHY.items() if name == RAW}
    assert druid_checks.supervisors(TOPICS.values(), found, FOUND) == [
        "Druid has no supervisor for sensor-data-aggregated, sensor-data-rejected, sensor-data-late: `make up` (`docker"
        " compose up`) registers what is missing."
    ]


def test_a_suspended_supervisor_is_to_be_resumed() -> None:
    suspended = RUNNING | {"suspended": True, "detailedState": "SUSPENDED", "healthy": True}
    assert findings(raw=Supervisor(suspended, "id")) == [
        "Supervisor sensor-data-raw is suspended: `make up` (`docker compose up`) resumes it."
    ]


def test_an_unhealthy_supervisor_is_named_with_its_newest_error() -> None:
    errors = [
        {"message": "Old"},
        {"message": "Timeout expired while fetching topic metadata.\n\tat java", "exceptionClass": "TimeoutException"},
        {"message": None},
    ]
    unhealthy = RUNNING | {"healthy": False, "detailedState": "UNABLE_TO_CONNECT_TO_STREAM", "recentErrors": errors}
    assert findings(raw=Supervisor(unhealthy, "id")) == [
        "Supervisor sensor-data-raw is UNABLE_TO_CONNECT_TO_STREAM: Timeout expired while fetching topic metadata. It"
        " recovers when the cause is gone; more is in coordinator.log in .local/stack/logs (`docker compose logs"
        " coordinator`) and indexer.log in .local/stack/logs (`docker compose logs indexer`)."
    ]
    assert druid_checks.newest_error([]) == "it gives no reason"
    assert druid_checks.newest_error([{"exceptionClass": "NullPointerException"}]) == "NullPointerException"


def test_a_supervisor_of_another_topic_is_named() -> None:
    assert findings(raw=Supervisor(RUNNING, "other")) == [
        "Druid's sensor-data-raw was read from another topic than the sensor-data-raw in Kafka: their ids are other and"
        " id. The topic was removed and created again, or KAFKA_BOOTSTRAP_SERVERS is the address of another Kafka."
        " Restore what was removed, correct the address, or remove all data with `make reset` (`docker compose down"
        " --volumes`)."
    ]
    assert findings(raw=Supervisor(RUNNING, None)) == []


def test_records_that_druid_could_not_parse_are_counted_but_in_the_raw_topic() -> None:
    assert druid_checks.unparseable(TOPICS["raw"], 12) == []  # those are rejected by the windows job as well
    assert druid_checks.unparseable(TOPICS["late"], 0) == []
    assert druid_checks.unparseable(TOPICS["late"], 1_200) == [
        "Druid could not parse 1,200 records of sensor-data-late, so its datasource lacks them. Another client may have"
        " sent them; the records are in indexer.log in .local/stack/logs (`docker compose logs indexer`)."
    ]


ENDS = Ends(first={0: 0, 1: 0}, committed={0: 10, 1: 20}, end={0: 10, 1: 25})


@pytest.mark.parametrize(
    ("before", "now", "unread"),
    [
        ({0: 10, 1: 20}, {0: 10, 1: 20}, {}),
        ({0: 10, 1: 15}, {0: 10, 1: 16}, {}),  # it reads
        ({0: 10, 1: 15}, {0: 10, 1: 15}, {1: 15}),
        (None, {0: 10, 1: 15}, {}),  # not known
        ({0: 10, 1: 15}, None, {}),
    ],
)
def test_a_supervisor_that_reads_nothing_between_two_looks(
    before: dict[int, int] | None, now: dict[int, int] | None, unread: dict[int, int]
) -> None:
    assert druid_checks.unread(now, before, ENDS) == unread


def test_the_lag_of_a_supervisor_that_reads_nothing_is_given() -> None:
    assert druid_checks.does_not_read(RAW, {1: 15}, ENDS).startswith(
        "Supervisor sensor-data-raw lags by 5 offsets and has read none of them in the last seconds."
    )


def answer_with(monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, tuple[int, Any]]) -> None:
    """Answers of Druid's servers by the end of the URL, as a code and a body."""

    def request(_session: requests.Session, _method: str, url: str, **_: object) -> requests.Response:
        response = requests.Response()
        response.status_code, body = next(answer for end, answer in answers.items() if url.endswith(end))
        response._content = (body if isinstance(body, str) else json.dumps(body)).encode()
        return response

    monkeypatch.setattr(requests.Session, "request", request)


def test_what_is_asked_of_druid(monkeypatch: pytest.MonkeyPatch) -> None:
    task = {"id": "t1", "dataSource": "a", "location": {"host": "indexer", "port": 8091}}
    starting = {"id": "t2", "dataSource": "b", "location": {"host": None, "port": -1}}
    totals = {"totals": {"buildSegments": {"processed": 7, "unparseable": 3}}}
    answers = {
        "/health": (200, True),
        "/v2/sql": (200, [{"server": "b:1", "server_type": "broker"}]),
        "?full": (200, [{"id": "a", "spec": {"context": {TOPIC_ID: "x"}}}, {"id": "b", "spec": {}}]),
        "a/status": (200, {"payload": RUNNING}),
        "b/status": (200, {"payload": RUNNING}),
        "a/stats": (200, {"0": {"t1": totals, "t0": {}}}),
        "type=index_kafka": (200, [task, starting]),
        "indexer:8091/druid/worker/v1/chat/t1/offsets/current": (200, {"0": 5, "1": 7}),
        "t2/offsets/current": (404, {"error": "no"}),
    }
    answer_with(monkeypatch, answers)
    druid = druid_state.Druid(settings("http://router"))
    assert druid.router_is_healthy() and druid.is_queryable() and druid.is_healthy("indexer:8091")
    assert druid.servers() == [("b:1", "broker")]
    assert druid.supervisors() == {"a": Supervisor(RUNNING, "x"), "b": Supervisor(RUNNING, None)}
    assert druid.unparseable("a") == 3
    assert druid.offsets() == {"a": {0: 5, 1: 7}}


@pytest.mark.parametrize(
    ("code", "body", "words"),
    [
        (500, {"error": "Unknown exception", "errorMessage": "There are no available brokers."}, "500: There are no"),
        (503, {"error": "is your coordinator/overlord running?"}, "503: is your coordinator"),
        (503, "[]", "503: \\[\\]"),
        (200, "<html>", "the answer is not JSON: '<html>'"),
    ],
)
def test_druids_own_explanation_is_kept(monkeypatch: pytest.MonkeyPatch, code: int, body: Any, words: str) -> None:
    answer_with(monkeypatch, {"": (code, body)})
    druid = druid_state.Druid(settings("http://router"))
    with pytest.raises(DruidError, match=words):
        druid.router_is_healthy()


@pytest.mark.parametrize(
    ("url", "user", "own"),
    [
        ("http://router:8888", "", True),
        ("http://127.0.0.1:8888", "", True),
        ("http://127.0.0.1:8888", "fleet", False),
        ("https://127.0.0.1:8888", "", False),
        ("http://druid.test", "", False),
    ],
)
def test_only_the_servers_of_the_stacks_own_druid_are_asked(tmp_path: Path, url: str, user: str, own: bool) -> None:
    (tmp_path / "password").write_text("1")
    file = str(tmp_path / "password") if user else ""
    assert druid_state.Druid(settings(url, user, file)).own is own
