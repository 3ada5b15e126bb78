"""A run of the generator, by a clock that only waiting moves: what it sends when, what it says, how it ends."""

import json
import math
import signal
from collections import Counter
from collections.abc import Iterable, Iterator

import producer
import pytest

from faults import MALFORMED, Faults, Shares
from fleet import Fleet, Record

DURATION = 100  # seconds


def faults(shares: Shares) -> Faults:
    return Faults(shares, late_by=30, out_of_order_by=2, duration=DURATION, seed=0)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Log:
    """Stands in for Deliveries: keeps what it is given."""

    def __init__(self, clock: Clock, stop_after: float = math.inf) -> None:
        self.clock, self.stop_after = clock, stop_after
        self.records: list[tuple[float, bytes, bytes]] = []  # when, key, value
        self.sent = self.acknowledged = self.failed = 0
        self.last_error = None

    def send(self, records: Iterable[Record]) -> None:
        for key, value in records:
            self.records.append((self.clock.now, key, value))
            self.sent = self.acknowledged = self.sent + 1
            if self.sent >= self.stop_after:
                producer.stop(signal.SIGTERM, None)

    def close(self, timeout: float) -> None:
        pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(producer, "time", clock)
    monkeypatch.setattr(producer, "now", lambda: f"{clock.now}")
    monkeypatch.setattr(producer, "_stop_signal", None)
    yield clock


def run(
    clock: Clock, faults: Faults | None, stop_after: float = math.inf, interval: float = 5, start: float = 1000
) -> Log:
    clock.now = start
    log = Log(clock, stop_after)
    given = producer.settings()._replace(interval=interval, duration=DURATION)
    producer.run(Fleet(20), log, given, faults, producer.Progress(DURATION))  # type: ignore[arg-type]
    return log


def test_iterations_after_the_first_are_by_the_clock(clock: Clock) -> None:
    times = sorted({at for at, _, _ in run(clock, None, start=1002).records})
    assert times == pytest.approx([1002, *range(1005, 1102, 5)])


def test_a_run_without_faults_and_one_with_none_to_send_are_the_same(clock: Clock) -> None:
    plain = run(clock, None)
    assert len(plain.records) == 20 * 20
    assert run(clock, faults(Shares())).records == plain.records


def test_a_run_ends_with_everything_sent_and_the_last_progress_line_last(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    faulty = faults(Shares(late=0.1, out_of_order=0.1))
    log = run(clock, faulty)
    answers = faulty.answer_key()
    assert len({value for _, _, value in log.records}) == answers["readings"] == 20 * 20
    assert answers["late"] > 10 and answers["out_of_order"] > 10 and answers["cut_short"] == 0
    said = capsys.readouterr().out.splitlines()
    # Every 10 s, each before its progress line, by whose beginning local/stack.py knows that the run is under way.
    assert [line.split()[0] for line in said] == ["iteration"] * 2 + ["answer", "iteration", "iteration"] * 9
    assert json.loads(said[-3].removeprefix("answer key "))["readings"] < answers["readings"]


def test_a_run_that_is_stopped_sends_what_is_still_held(clock: Clock) -> None:
    faulty = faults(Shares(late=0.5))
    log = run(clock, faulty, stop_after=50)
    answers = faulty.answer_key()
    assert answers["cut_short"] > 10
    assert len({value for _, _, value in log.records}) == len(log.records) == answers["readings"]
    sent = Counter(key for _, key, _ in log.records)
    assert set(sent.values()) == {len(log.records) // 20}  # as many of every vehicle: none is missing


@pytest.mark.parametrize("share", ["0", "0.5"])
def test_the_closing_line_stays_the_last_and_the_answer_key_comes_before_it_where_there_are_faults(
    share: str, clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(producer, "connect", lambda *_: None)
    monkeypatch.setattr(producer, "last_seq", lambda *_: {})
    monkeypatch.setattr(producer, "Deliveries", lambda *_: Log(clock))
    monkeypatch.setattr(producer.signal, "signal", lambda *_: None)
    for name, value in (("NUM_ENTITIES", "10"), ("SCRIPT_DURATION", "8"), ("DUPLICATE_SHARE", share)):
        monkeypatch.setenv(name, value)
    producer.main()
    before, last = capsys.readouterr().out.splitlines()[-2:]
    if share == "0":
        assert (before, last[:10]) == ("iteration 2: 20 sent, 20 acknowledged, 0 failed, 5 of 8 s", "finished: ")
    else:
        answers = json.loads(before.removeprefix("answer key "))
        none = dict(
            late=0, out_of_order=0, gaps=0, cut_short=0, malformed=dict.fromkeys(MALFORMED, 0), malformed_total=0
        )
        assert answers == {"readings": answers["readings"], "duplicates": answers["readings"] - 20, **none}
        assert last == f"finished: {answers['readings']} sent, {answers['readings']} acknowledged, 0 failed"
