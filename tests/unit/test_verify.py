"""verify.py: the wait for what is under way, with Kafka and Druid faked; its settings, errors and result file."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import verify
from reconciliation import reconcile, topics
from reconciliation.druid import Druid, DruidError
from reconciliation.result import Reconciliation, Rows
from reconciliation.verdict import verdict
from repository import ROOT, assert_one_sentence, run_script
from service import contract

SCRIPT = str(ROOT / "ledger/verify.py")
TOPICS = contract.topics()
RAW, AGGREGATED, REJECTED, PROGRESS = (TOPICS[role].name for role in ("raw", "aggregated", "rejected", "progress"))


def reading(second: int) -> bytes:
    return f'{{"time": "1970-01-01T00:00:{second:02}Z", "entity": 1}}'.encode()


def window(second: int, count: int) -> bytes:
    return f'{{"window_start": "1970-01-01T00:00:{second:02}.000Z", "entity": 1, "count": {count}}}'.encode()


def token(offset: int, watermark: int) -> bytes:
    values = {"window_seconds": 10, "watermark": watermark * 1000, "offsets": {RAW: {"0": offset}}}
    return json.dumps(values).encode()


class FakeKafka:
    """One partition of each topic; counts how often the raw topic is read."""

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


class FakeDruid:
    """Gives these answers, the last one again and again."""

    def __init__(self, *answers: Rows | Exception) -> None:
        self.answers = list(answers)

    def rows(self, _topics: Mapping[str, contract.Topic]) -> Rows:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def run(
    monkeypatch: pytest.MonkeyPatch, kafka: FakeKafka, *druid: Rows | Exception, wait: float = 5
) -> tuple[Reconciliation, Rows]:
    """Reconcile with a sleep that takes no time."""
    clock = iter(range(1000))
    monkeypatch.setattr(reconcile, "time", SimpleNamespace(monotonic=lambda: next(clock) / 10, sleep=lambda _: None))
    return reconcile.reconcile(kafka, FakeDruid(*druid), TOPICS, wait)  # type: ignore[arg-type]


def exit_code(result: tuple[Reconciliation, Rows]) -> int:
    return verdict(*result, TOPICS)[0]


def closing() -> FakeKafka:
    kafka = FakeKafka([reading(1), reading(15)])
    kafka.values[PROGRESS] = [token(2, 0), token(2, 10)]
    kafka.values[AGGREGATED] = [window(0, 1)]
    return kafka


ALL, LESS, NOTHING = Rows(2, 1, 1, 0, 0), Rows(1, 1, 1, 0, 0), Rows(0, 0, 0, 0, 0)


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
    assert kafka.raw_reads == 1


def test_a_wait_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = closing()
    assert exit_code(run(monkeypatch, kafka, LESS)) == 3
    assert kafka.raw_reads == 1
    with pytest.raises(DruidError):
        run(monkeypatch, kafka, DruidError("down"))
    kafka.values[RAW].append(reading(20))
    kafka.raw_reads = 0
    assert exit_code(run(monkeypatch, kafka, ALL)) == 3
    assert kafka.raw_reads == 1


def test_it_does_not_wait_when_druid_has_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert exit_code(run(monkeypatch, closing(), Rows(3, 1, 1, 0, 0), ALL)) == 1


def test_records_that_come_during_the_count_are_counted_when_the_job_has_read_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class FlowingKafka(FakeKafka):
        """A reading comes and the job closes its window, while the raw topic is read for the first time."""

        def read(self, topic: str, first: Any, end: Any, committed: bool) -> Iterator[tuple[int, list[Any]]]:
            yield from super().read(topic, first, end, committed)
            if topic == RAW and self.raw_reads == 1:
                self.values[RAW].append(reading(16))
                self.values[PROGRESS].append(token(3, 20))
                self.values[AGGREGATED].append(window(10, 2))

    kafka = FlowingKafka(closing().values[RAW])
    kafka.values |= {name: closing().values[name] for name in (PROGRESS, AGGREGATED)}
    found, druid = run(monkeypatch, kafka, Rows(3, 2, 3, 0, 0))
    assert (exit_code((found, druid)), found.in_windows, kafka.raw_reads) == (0, 3, 2)


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
    druid = Druid("http://druid")
    if expected is None:
        with pytest.raises(DruidError):
            druid.sql("SELECT")
    else:
        assert druid.sql("SELECT") == expected


def test_druids_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        'SELECT COUNT(*) AS n, SUM("count") AS counted FROM "sensor-data-aggregated"': {"n": 2, "counted": 9},
        'SELECT COUNT(*) AS n FROM "sensor-data-raw"': {"n": 7},
        'SELECT COUNT(*) AS n FROM "sensor-data-rejected"': {},
        "SELECT COUNT(*) AS n FROM"
        ' (SELECT __time, entity FROM "sensor-data-aggregated" GROUP BY 1, 2 HAVING COUNT(*) > 1)': {"n": 1},
    }
    druid = Druid("http://druid")
    monkeypatch.setattr(druid, "sql", answers.pop)
    assert druid.rows(TOPICS) == Rows(readings=7, windows=2, readings_in_windows=9, rejected=0, duplicate_windows=1)
    assert not answers


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
