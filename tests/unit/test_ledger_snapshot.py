"""The snapshot of Kafka and Druid, and the wait until it closes."""

import json
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from ledger_fakes import (
    AGGREGATED,
    ALL,
    LESS,
    NOTHING,
    PROGRESS,
    RAW,
    REJECTED,
    RUNS,
    TOPICS,
    FakeDruid,
    FakeKafka,
    closing,
    reading,
    rows,
    token,
    verify,
    window,
)
from reconciliation import reconcile
from reconciliation.result import Cut, Reconciliation, Rows
from reconciliation.verdict import verdict
from service import contract
from service.druid import Denied, DruidError


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
    outcome = verify(kafka, *druid, wait=wait)
    return outcome.found, outcome.rows


def exit_code(result: tuple[Reconciliation, Rows]) -> int:
    return verdict(*result, TOPICS)[0]


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


def test_it_waits_for_druid_without_reading_kafka_again_and_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kafka, starting = closing(), DruidError("starting")
    caplog.set_level("INFO")
    assert exit_code(run(monkeypatch, kafka, NOTHING, LESS, starting, starting, LESS, ALL)) == 0
    assert kafka.raw_reads == 2
    assert caplog.messages == ["waiting for Druid: starting"]


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


def test_what_removed_tokens_have_read_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = FakeKafka([reading(1), reading(15), reading(16)])
    kafka.values[PROGRESS] = [token(1, 0, 1), token(2, 10, 1), token(3, 10, 1)]
    kafka.values[AGGREGATED] = [window(0, 1)]
    found = run(monkeypatch, kafka, rows(3, 2))
    assert (exit_code(found), found[0].records) == (0, 3)
    kafka.removed[PROGRESS] = 1  # by the next token, the first reading would be late
    found = run(monkeypatch, kafka, rows(3, 2))
    assert (exit_code(found), found[0].records) == (0, 1)
    assert found[0].removed == {"raw": {0: 2}, "progress": {0: 1}}


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


def test_a_druid_that_does_not_accept_the_user_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Denied):
        run(monkeypatch, closing(), Denied("wrong password"), ALL)
