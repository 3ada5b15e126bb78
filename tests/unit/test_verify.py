"""The wait for what is under way, against topics and a Druid that the test holds; settings, and no Kafka."""

import json
import re
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import verify
from rooms import ROOT, assert_one_sentence, run_script

from ledger import AGGREGATED, PROGRESS, RAW, REJECTED, Books, Rows

SCRIPT = str(ROOT / "ledger/verify.py")


def reading(second: int) -> bytes:
    return f'{{"time": "1970-01-01T00:00:{second:02}Z", "entity": 1}}'.encode()


def window(second: int, count: int) -> bytes:
    return f'{{"window_start": "1970-01-01T00:00:{second:02}.000Z", "entity": 1, "count": {count}}}'.encode()


def token(offset: int, watermark: int) -> bytes:
    values = {"window_seconds": 10, "watermark": watermark * 1000, "offsets": {RAW: {"0": offset}}}
    return json.dumps(values).encode()


class Topics:
    """One partition of each topic; each read of the raw topic is noted."""

    def __init__(self, raw: list[bytes]) -> None:
        self.values: dict[str, list[bytes]] = {RAW: raw, AGGREGATED: [], REJECTED: [], PROGRESS: []}
        self.raw_reads = 0

    def first(self, _topic: str) -> dict[int, int]:
        return {0: 0}

    def end(self, topic: str) -> dict[int, int]:
        return {0: len(self.values[topic])}

    def read(
        self, topic: str, first: dict[int, int], end: dict[int, int], committed: bool
    ) -> Iterator[tuple[int, list[Any]]]:
        assert committed == (topic != RAW)
        self.raw_reads += topic == RAW
        values = enumerate(self.values[topic][: end[0]])
        yield 0, [SimpleNamespace(offset=offset, value=value) for offset, value in values if offset >= first[0]]


def run(
    monkeypatch: pytest.MonkeyPatch, topics: Topics, druid: list[Rows | Exception], seconds: float = 5
) -> tuple[Books, Rows]:
    """Verify with a Druid that gives these answers, the last one for ever, and a sleep that takes no time."""

    def druid_rows() -> Rows:
        answer = druid.pop(0) if len(druid) > 1 else druid[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    clock = iter(range(1000))
    monkeypatch.setattr(verify, "druid_rows", druid_rows)
    monkeypatch.setattr(verify, "time", SimpleNamespace(monotonic=lambda: next(clock) / 10, sleep=lambda _: None))
    return verify.verify(topics, seconds)  # type: ignore[arg-type]


def closing() -> Topics:
    topics = Topics([reading(1), reading(15)])
    topics.values[PROGRESS] = [token(2, 0), token(2, 10)]
    topics.values[AGGREGATED] = [window(0, 1)]
    return topics


ALL, LESS, NOTHING = Rows(2, 1, 1, 0, 0), Rows(1, 1, 1, 0, 0), Rows(0, 0, 0, 0, 0)


def test_what_closes_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    books, druid = run(monkeypatch, closing(), [ALL], seconds=0)
    assert (books.records, books.in_windows, books.in_open_windows, druid) == (2, 1, 1, ALL)
    assert verify.verdict(books, druid)[0] == 0


def test_without_a_wait_it_tells_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    topics = closing()
    topics.values[RAW].append(reading(20))
    books, druid = run(monkeypatch, topics, [LESS], seconds=0)
    assert (books.records, books.unread) == (3, 1)
    assert verify.verdict(books, druid)[0] == 3


def test_druid_is_waited_for_without_reading_kafka_again(monkeypatch: pytest.MonkeyPatch) -> None:
    topics = closing()
    books, druid = run(monkeypatch, topics, [NOTHING, LESS, verify.NoAnswer("starting"), LESS, ALL])
    assert verify.verdict(books, druid)[0] == 0
    assert topics.raw_reads == 1


def test_a_wait_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    topics = closing()
    assert verify.verdict(*run(monkeypatch, topics, [LESS]))[0] == 3
    assert topics.raw_reads == 1
    with pytest.raises(verify.NoAnswer):
        run(monkeypatch, topics, [verify.NoAnswer("down")])
    topics.values[RAW].append(reading(20))
    topics.raw_reads = 0
    assert verify.verdict(*run(monkeypatch, topics, [ALL]))[0] == 3
    assert topics.raw_reads == 1


def test_more_in_druid_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    druid: list[Rows | Exception] = [Rows(3, 1, 1, 0, 0), ALL]
    assert verify.verdict(*run(monkeypatch, closing(), druid))[0] == 1


def test_what_comes_while_it_counts_is_counted_again_when_the_job_has_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Flowing(Topics):
        """A reading comes and the job closes its window, while the raw topic is read for the first time."""

        def read(self, topic: str, first: Any, end: Any, committed: bool) -> Iterator[tuple[int, list[Any]]]:
            yield from super().read(topic, first, end, committed)
            if topic == RAW and self.raw_reads == 1:
                self.values[RAW].append(reading(16))
                self.values[PROGRESS].append(token(3, 20))
                self.values[AGGREGATED].append(window(10, 2))

    topics = Flowing(closing().values[RAW])
    topics.values |= {name: closing().values[name] for name in (PROGRESS, AGGREGATED)}
    after = Rows(3, 2, 3, 0, 0)
    books, druid = run(monkeypatch, topics, [after])
    assert (verify.verdict(books, druid)[0], books.in_windows, topics.raw_reads) == (0, 3, 2)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b'[{"n": 5}]', {"n": 5}),
        (400, b'{"errorMessage": "Object \'sensor-data-rejected\' not found (line [1], column [27])"}', {}),
        (400, b'{"errorMessage": "Incorrect syntax"}', None),
        (503, b"not found", None),
        (200, b"<html>", None),
        (200, b"[]", None),
        (200, b"{}", None),
    ],
)
def test_druids_answers(
    monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, expected: dict[str, int] | None
) -> None:
    response = requests.Response()
    response.status_code, response._content = status, body
    monkeypatch.setattr(requests, "post", lambda *_, **__: response)
    if expected is None:
        with pytest.raises(verify.NoAnswer):
            verify.sql("SELECT")
    else:
        assert verify.sql("SELECT") == expected


@pytest.mark.parametrize("given", ["", "soon", "-1", "nan", "inf"])
def test_a_wait_that_is_none(given: str) -> None:
    result = run_script([sys.executable, SCRIPT], {"WAIT": given})
    assert result.returncode == 2
    assert_one_sentence(result.stderr)
    assert result.stderr == f"WAIT (or wait) is {given!r}: it must be a number of seconds, 0 or more.\n"


def test_no_kafka_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "CONNECT_TIMEOUT", 0.2)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    with pytest.raises(SystemExit, match=re.escape("The books can't be read: Kafka at 127.0.0.1:1: ")):
        verify.main()


def test_no_druid_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "Topics", lambda _: closing())
    monkeypatch.setenv("DRUID_URL", "http://127.0.0.1:1")
    with pytest.raises(SystemExit, match=r"The books can't be read: no answer from Druid at http://127\.0\.0\.1:1 "):
        verify.main()
