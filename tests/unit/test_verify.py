"""verify.py: the snapshot and the wait for it, with Kafka and Druid faked; its settings, errors and result file."""

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import verify
from reconciliation import reconcile, topics
from reconciliation.druid import Druid, DruidError
from reconciliation.result import Cut, Place, Reconciliation, Rows
from reconciliation.verdict import verdict
from repository import ROOT, assert_one_sentence, run_script
from service import contract

SCRIPT = str(ROOT / "ledger/verify.py")
TOPICS = contract.topics()
RAW, AGGREGATED, REJECTED, LATE, PROGRESS, RUNS = (
    TOPICS[role].name for role in ("raw", "aggregated", "rejected", "late", "progress", "runs")
)


def iso(second: int) -> str:
    return f"1970-01-01T00:{second // 60:02}:{second % 60:02}.000Z"


def reading(second: int) -> bytes:
    return json.dumps({"time": iso(second), "entity": 1}).encode()


def window(second: int, count: int) -> bytes:
    start, end = iso(second), iso(second + 10)
    return json.dumps({"window_start": start, "window_end": end, "entity": "1", "count": count}).encode()


def token(offset: int, watermark: int, records: int = 0) -> bytes:
    values = {"window_seconds": 10, "watermark": watermark * 1000, "offsets": {RAW: {"0": offset}}}
    return json.dumps(values | {"records": records, "late": 0}).encode()


class FakeKafka:
    """One partition of each topic; counts the records of the raw topic that are read."""

    def __init__(self, raw: list[bytes]) -> None:
        self.values: dict[str, list[bytes]] = {name: [] for name in (AGGREGATED, REJECTED, LATE, PROGRESS, RUNS)}
        self.values[RAW] = raw
        self.removed: dict[str, int] = {}  # first offsets
        self.open_transaction = 0  # records at the end of the raw topic
        self.raw_reads = 0

    def first(self, topic: str) -> dict[int, int]:
        return {0: self.removed.get(topic, 0)}

    def end(self, topic: str) -> dict[int, int]:
        return {0: len(self.values[topic])}

    def committed_end(self, topic: str) -> dict[int, int]:
        return {0: len(self.values[topic]) - (self.open_transaction if topic == RAW else 0)}

    def read(self, topic: str, first: dict[int, int], end: dict[int, int]) -> Iterator[tuple[int, list[Any]]]:
        found = [SimpleNamespace(offset=at, value=value) for at, value in enumerate(self.values[topic][: end[0]])]
        found = found[first.get(0, 0) :]
        self.raw_reads += len(found) if topic == RAW else 0
        yield 0, found


class FakeDruid:
    """Gives these answers, the last one again and again."""

    def __init__(self, *answers: Rows | Exception) -> None:
        self.answers = list(answers)
        self.rejected_rows: list[tuple[Place, str]] = []

    def rows(self, _topics: Mapping[str, contract.Topic], _cut: Cut) -> Rows:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def rejected(
        self, _topics: Mapping[str, contract.Topic], _first: Mapping[int, int], _cut: Cut
    ) -> Iterator[tuple[Place, str]]:
        yield from self.rejected_rows


def run(
    monkeypatch: pytest.MonkeyPatch,
    kafka: FakeKafka,
    *druid: Rows | Exception | FakeDruid,
    wait: float = 5,
    meanwhile: Callable[[], None] = lambda: None,
) -> tuple[Reconciliation, Rows]:
    """Reconcile with a sleep that takes no time; `meanwhile` happens instead."""
    clock = iter(range(1000))
    monkeypatch.setattr(
        reconcile, "time", SimpleNamespace(monotonic=lambda: next(clock) / 10, sleep=lambda _: meanwhile())
    )
    fake = druid[0] if isinstance(druid[0], FakeDruid) else FakeDruid(*druid)  # type: ignore[arg-type]
    return reconcile.reconcile(kafka, fake, TOPICS, wait)  # type: ignore[arg-type]


def exit_code(result: tuple[Reconciliation, Rows]) -> int:
    return verdict(*result, TOPICS)[0]


def closing() -> FakeKafka:
    """A reading in a window that is emitted, and one in an open window."""
    kafka = FakeKafka([reading(1), reading(15)])
    kafka.values[PROGRESS] = [token(2, 0, records=2), token(2, 10)]
    kafka.values[AGGREGATED] = [window(0, 1)]
    return kafka


def rows(readings: int, recent: int, windows: int = 1, counted: int = 1, rejected: int = 0) -> Rows:
    return Rows(readings, recent, windows, counted, 0, rejected, 0)


ALL, LESS, NOTHING = rows(2, 1), rows(1, 0), rows(0, 0, 0, 0)


def test_a_ledger_that_closes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    found, druid = run(monkeypatch, closing(), ALL, wait=0)
    assert (found.records, found.in_windows, found.in_open_windows, druid) == (2, 1, 1, ALL)
    assert exit_code((found, druid)) == 0


def test_without_a_wait_it_reports_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = closing()
    kafka.values[RAW].append(reading(20))
    found, druid = run(monkeypatch, kafka, LESS, wait=0)
    assert (found.records, found.unread) == (3, 1)
    assert exit_code((found, druid)) == 3


def test_it_waits_for_druid_without_reading_kafka_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = closing()
    assert exit_code(run(monkeypatch, kafka, NOTHING, LESS, DruidError("starting"), LESS, ALL)) == 0
    assert kafka.raw_reads == 2


def test_a_wait_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = closing()
    assert exit_code(run(monkeypatch, kafka, LESS)) == 3
    assert kafka.raw_reads == 2
    with pytest.raises(DruidError):
        run(monkeypatch, kafka, DruidError("down"))
    kafka.values[RAW].append(reading(20))
    assert exit_code(run(monkeypatch, kafka, ALL)) == 3


def test_it_does_not_wait_when_druid_has_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert exit_code(run(monkeypatch, closing(), rows(3, 2), ALL)) == 1


class FlowingKafka(FakeKafka):
    """A reading comes while the job's topics are read, and a batch that closes the window of the reading before."""

    def __init__(self, job_reads_on: bool = True) -> None:
        super().__init__([])
        self.job_reads_on = True
        for _ in range(5):
            self.flow()
        self.job_reads_on = job_reads_on

    def flow(self) -> None:
        number = len(self.values[RAW])
        self.values[RAW].append(reading(number * 10))
        if self.job_reads_on:
            self.values[PROGRESS].append(token(number + 1, number * 10, records=1))
            self.values[AGGREGATED] += [window(number * 10 - 10, 1)] if number else []

    def read(self, topic: str, first: dict[int, int], end: dict[int, int]) -> Iterator[tuple[int, list[Any]]]:
        yield from super().read(topic, first, end)
        if topic in (AGGREGATED, REJECTED):
            self.flow()


class DruidThatReadsOn(FakeDruid):
    """Has read all readings that are there when it is asked, but for `lost` ones; and the windows up to the cut."""

    def __init__(self, kafka: FlowingKafka, lost: int) -> None:
        super().__init__()
        self.kafka, self.lost = kafka, lost

    def rows(self, _topics: Mapping[str, contract.Topic], cut: Cut) -> Rows:
        self.kafka.flow()
        readings, windows = len(self.kafka.values[RAW]), cut.watermark // 10_000
        return rows(readings - self.lost, readings - windows, windows, windows)


@pytest.mark.parametrize(("lost", "code"), [(0, 0), (1, 3), (-1, 1)])
def test_it_closes_while_data_flows_and_still_sees_what_druid_lacks(
    lost: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = FlowingKafka()
    found, druid = run(monkeypatch, kafka, DruidThatReadsOn(kafka, lost))
    assert (exit_code((found, druid)), found.records, found.in_windows, found.in_open_windows) == (code, 5, 4, 1)
    assert druid.readings == 5 - lost


def test_what_came_before_it_was_asked_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = closing()
    kafka.values[RAW].append(reading(20))
    tokens = iter([token(2, 10), token(3, 10, records=1), token(3, 20)])

    def job() -> None:
        kafka.values[PROGRESS].append(next(tokens))

    found, druid = run(monkeypatch, kafka, rows(3, 2), meanwhile=job)
    assert (exit_code((found, druid)), found.records, found.unread) == (0, 3, 0)
    assert next(tokens) == token(3, 20)  # no longer than that


def test_what_the_job_has_not_read_after_the_wait_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = FlowingKafka(job_reads_on=False)
    kafka.flow()
    found, druid = run(monkeypatch, kafka, DruidThatReadsOn(kafka, 0))
    assert (exit_code((found, druid)), found.records, found.unread) == (3, 6, 1)


def test_an_open_transaction_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = closing()
    kafka.values[RAW] += [reading(16), reading(17)]
    kafka.open_transaction = 2
    found, druid = run(monkeypatch, kafka, ALL, wait=0)
    assert (exit_code((found, druid)), found.records, found.held_back) == (0, 2, 2)


@pytest.mark.parametrize(("acknowledged", "code"), [(2, 0), (3, 1)])
def test_it_begins_at_the_generators_own_count(acknowledged: int, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = closing()
    run_of = {"run": "a", "started_at": "1970-01-01T00:00:00Z", "state": "finished", "sent": 3, "failed": 0}
    kafka.values[RUNS] = [b"hello", json.dumps(run_of | {"acknowledged": acknowledged}).encode()]
    found, druid = run(monkeypatch, kafka, ALL)
    assert (exit_code((found, druid)), found.acknowledged) == (code, acknowledged)


def test_rejected_records_that_retention_has_removed_are_asked_from_druid(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = closing()
    kafka.values[RAW].append(b"?")
    kafka.values[PROGRESS].append(token(3, 10, records=1))
    kafka.values[REJECTED] = [b"?"]
    kafka.removed[REJECTED] = 1
    druid = FakeDruid(DruidError("starting"), rows(2, 1, rejected=1))
    assert exit_code(run(monkeypatch, kafka, druid)) == 1  # Druid hasn't the record either
    druid.rejected_rows = [((0, 2), "not JSON")]
    found, druid_rows = run(monkeypatch, kafka, druid)
    assert (exit_code((found, druid_rows)), found.rejected) == (0, {"not JSON": 1})


def test_a_record_that_is_not_a_token_is_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kafka = closing()
    kafka.values[PROGRESS] = [b"hello", *kafka.values[PROGRESS], b"hello"]
    assert exit_code(run(monkeypatch, kafka, ALL)) == 0
    assert caplog.messages == ["sensor-data-progress holds a record that is not a progress token: b'hello'"]


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
    monkeypatch.setattr(requests.Session, "post", lambda *_, **__: response)
    druid = Druid("http://druid")
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
        f'SELECT COUNT(*) AS n, SUM("count") AS counted FROM {windows}': [{"n": 2, "counted": 9}],
        f'SELECT COUNT(*) AS n FROM "sensor-data-late" {places}': [{"n": 4}],
        f'SELECT COUNT(*) AS n FROM "sensor-data-rejected" {places}': [],
        "SELECT COUNT(*) AS n FROM"
        f" (SELECT __time, window_end, entity FROM {windows} GROUP BY 1, 2, 3 HAVING COUNT(*) > 1)": [{"n": 1}],
    }
    druid = Druid("http://druid")
    monkeypatch.setattr(druid, "sql", answers.pop)
    assert druid.rows(TOPICS, Cut({0: 7, 1: 9}, 65_000, 60_000)) == Rows(
        readings=7, recent_readings=3, windows=2, readings_in_windows=9, late=4, rejected=0, duplicate_windows=1
    )
    assert not answers


def test_the_rejected_rows_of_druid(monkeypatch: pytest.MonkeyPatch) -> None:
    query = 'SELECT "offset" AS o, reason FROM "sensor-data-rejected" WHERE "partition" = 1 AND "offset" >= 3'
    answers = {f'{query} AND "offset" < 9': [{"o": 4, "reason": "not JSON"}, {"o": 5, "reason": "no value"}]}
    druid = Druid("http://druid")
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
    assert Druid("http://druid").sql("SELECT") == []
    assert not seen[0]


@pytest.mark.parametrize("given", ["", "soon", "-1", "nan", "inf"])
def test_a_wait_that_is_not_allowed(given: str) -> None:
    result = run_script([sys.executable, SCRIPT], {"WAIT": given})
    assert result.returncode == 2
    assert_one_sentence(result.stderr)
    assert result.stderr.endswith(
        f"Z ERROR verify: WAIT (or wait) is {given!r}: it must be a number of seconds, 0 or more.\n"
    )


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Path]:
    """verify.main() can be called: logs go to caplog, and the result to this file."""
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(verify.log, "configure", lambda _: None)
    result = tmp_path / "results/verify.json"
    monkeypatch.setenv("RESULT_FILE", str(result))
    yield result
    assert not list(result.parent.glob("*.new"))


def test_the_result_is_printed_for_people_and_written_for_programs(
    called: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verify, "KafkaTopics", lambda _: closing())
    monkeypatch.setattr(verify, "Druid", lambda _: FakeDruid(LESS))
    assert verify.main() == 3
    sentence = "Still under way: Druid has 1 row left to read; WAIT=60 waits for them."
    assert capsys.readouterr().out.endswith(f"  out of order                         0\n\n{sentence}\n")
    result = json.loads(called.read_text())
    assert (result["closes"], result["exit_code"], result["sentence"]) == (False, 3, sentence)
    assert (result["figures"]["records"], result["figures"]["druid"]["readings"]) == (2, 1)

    monkeypatch.setattr(verify, "Druid", lambda _: FakeDruid(ALL))
    assert verify.main() == 0
    result = json.loads(called.read_text())
    assert (result["closes"], result["exit_code"]) == (True, 0)
    assert result["sentence"].startswith("The ledger closes: 2 records = ")


def test_without_a_result_file_nothing_is_written(
    called: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RESULT_FILE")
    monkeypatch.setattr(verify, "KafkaTopics", lambda _: closing())
    monkeypatch.setattr(verify, "Druid", lambda _: FakeDruid(ALL))
    assert verify.main() == 0
    assert not called.parent.exists()


def test_a_result_file_that_cant_be_written_is_refused_before_anything_is_read(
    called: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RESULT_FILE", str(tmp_path / "file/verify.json"))
    assert verify.main() == 2
    assert "RESULT_FILE (or result_file) is" in caplog.text
    assert "can't be written" in caplog.text


def test_without_kafka_it_is_one_sentence(
    called: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(topics, "CONNECT_TIMEOUT", 0.2)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    assert verify.main() == 1
    [error] = [record.getMessage() for record in caplog.records if record.name == "verify"]
    assert error.startswith("The ledger can't be computed: Kafka at 127.0.0.1:1: ")
    result = json.loads(called.read_text())
    assert (result["closes"], result["exit_code"], result["sentence"], result["figures"]) == (False, 1, error, {})


def test_without_druid_it_is_one_sentence(
    called: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(verify, "KafkaTopics", lambda _: closing())
    monkeypatch.setenv("DRUID_URL", "http://127.0.0.1:1")
    assert verify.main() == 1
    [error] = [record.getMessage() for record in caplog.records if record.name == "verify"]
    assert error == "The ledger can't be computed: Druid does not answer at http://127.0.0.1:1 (ConnectionError)."
