"""What the registration makes of an answer of Druid, and how long it waits for one."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from druid_router import settings
from registration import druid, wait
from registration.druid import Druid, NotReady, Refused


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
