"""The ledger's queries to Druid, and what it makes of the answers."""

import re
from typing import Any

import pytest
import requests
from druid_router import settings
from ledger_fakes import TOPICS
from reconciliation.druid import Druid
from reconciliation.result import Cut, Rows
from service.druid import DruidError

RANGE = 'TIMESTAMP_TO_MILLIS(MIN(__time)) AS "first", TIMESTAMP_TO_MILLIS(MAX(__time)) AS "last"'


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b'[{"n": 5}]', [{"n": 5}]),
        (200, b"[]", []),
        (400, b'{"errorMessage": "Object \'sensor-data-rejected\' not found (line [1], column [27])"}', []),
        (400, b'{"errorMessage": "Incorrect syntax"}', None),
        (503, b"not found", None),
        (200, b"<html>", None),
        (200, b"[1]", None),
    ],
)
def test_druids_answers(
    monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, expected: list[dict[str, int]] | None
) -> None:
    response = requests.Response()
    response.status_code, response._content = status, body
    monkeypatch.setattr(requests.Session, "request", lambda *_, **__: response)
    druid = Druid(settings("http://druid"))
    if expected is None:
        with pytest.raises(DruidError):
            druid.sql("SELECT")
    else:
        assert druid.sql("SELECT") == expected


def test_druids_rows_up_to_the_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    places = """WHERE ("partition" = 0 AND "offset" < 7) OR ("partition" = 1 AND "offset" < 9)"""
    windows = """"sensor-data-aggregated" WHERE window_end <= '1970-01-01T00:01:05.000Z'"""
    answers = {
        "SELECT COUNT(*) AS n, COUNT(*) FILTER (WHERE __time >= MILLIS_TO_TIMESTAMP(60000)) AS recent"
        ' FROM "sensor-data-raw"': [{"n": 7, "recent": 3}],
        f'SELECT COUNT(*) AS n, SUM("count") AS counted, {RANGE} FROM {windows}': [
            {"n": 2, "counted": 9, "first": 0, "last": 60_000}
        ],
        f'SELECT COUNT(*) AS n FROM "sensor-data-late" {places}': [{"n": 4}],
        f'SELECT COUNT(*) AS n FROM "sensor-data-rejected" {places}': [],
        "SELECT COUNT(*) AS n FROM"
        f" (SELECT __time, window_end, entity FROM {windows} AND {between(0, 60_001)}"
        " GROUP BY 1, 2, 3 HAVING COUNT(*) > 1)": [{"n": 1}],
    }
    druid = Druid(settings("http://druid"))
    monkeypatch.setattr(druid, "sql", answers.pop)
    assert druid.rows(TOPICS, Cut({0: 7, 1: 9}, 65_000, 60_000)) == Rows(
        readings=7, recent_readings=3, windows=2, readings_in_windows=9, late=4, rejected=0, duplicate_windows=1
    )
    assert not answers


def test_many_windows_are_searched_for_duplicates_in_parts_that_druid_can_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    windows = [(minute * 60_000, entity) for minute in range(3) for entity in range(60)] + [(120_000, 7), (180_000, 7)]
    starts = [start for start, _ in windows]
    monkeypatch.setattr("reconciliation.druid.MOST_GROUPS", 100)
    grouped: list[int] = []

    def sql(query: str) -> list[dict[str, int]]:
        if "sensor-data-aggregated" not in query:
            return []
        if "counted" in query:
            return [{"n": len(starts), "counted": 9, "first": min(starts), "last": max(starts)}]
        first, end = (int(each) for each in re.findall(r"MILLIS_TO_TIMESTAMP\((\d+)\)", query))
        found = [window for window in windows if first <= window[0] < end]
        if "GROUP BY" not in query:
            return [{"n": len(found)}]
        grouped.append(len(found))
        return [{"n": len(found) - len(set(found))}]

    druid = Druid(settings("http://druid"))
    monkeypatch.setattr(druid, "sql", sql)
    assert druid.rows(TOPICS, Cut({}, 240_000, 0)).duplicate_windows == 1
    assert grouped == [60, 60, 62]


def between(first: int, end: int) -> str:
    return f"__time >= MILLIS_TO_TIMESTAMP({first}) AND __time < MILLIS_TO_TIMESTAMP({end})"


def test_the_rejected_rows_of_druid(monkeypatch: pytest.MonkeyPatch) -> None:
    query = 'SELECT "offset" AS o, reason FROM "sensor-data-rejected" WHERE "partition" = 1 AND "offset" >= 3'
    answers = {f'{query} AND "offset" < 9': [{"o": 4, "reason": "not JSON"}, {"o": 5, "reason": "no value"}]}
    druid = Druid(settings("http://druid"))
    monkeypatch.setattr(druid, "sql", answers.pop)
    found = list(druid.rejected(TOPICS, {1: 3}, Cut({1: 9}, 0, 0)))
    assert found == [((1, 4), "not JSON"), ((1, 5), "no value")]


def test_no_proxy_of_the_environment_comes_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    seen: list[Any] = []

    def send(_self: Any, request: Any, **more: Any) -> requests.Response:
        seen.append(more["proxies"])
        response = requests.Response()
        response.status_code, response._content = 200, b"[]"
        return response

    monkeypatch.setattr(requests.Session, "send", send)
    assert Druid(settings("http://druid")).sql("SELECT") == []
    assert not seen[0]
