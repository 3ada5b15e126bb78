"""A run of one process, by a clock that moves only while it waits: what it sends, when, and how it ends."""

import math
import signal
import time
from collections import Counter
from collections.abc import Iterable

import generator.run
import generator.stop
import generator_run
import pytest
from generator.faults import MALFORMED, Faults, Shares
from generator.fleet import WHOLE, Fleet, Record
from generator.run import Report, Run, prepare, until_next
from generator.settings import Settings
from generator.stop import Stop
from generator_run import Clock

DURATION = 100  # seconds
VEHICLES = 20


def faults(shares: Shares) -> Faults:
    return Faults(shares, late_by=30, out_of_order_by=2, duration=DURATION, seed=0)


class Log:
    """Stands in for Deliveries: keeps the records. Requests a stop after `stop_after` of them."""

    def __init__(self, clock: Clock, stop: Stop, stop_after: float = math.inf) -> None:
        self.clock, self.stop, self.stop_after = clock, stop, stop_after
        self.records: list[tuple[float, bytes, bytes]] = []  # time, key, value
        self.sent = self.acknowledged = self.failed = 0
        self.last_error = None

    def send(self, records: Iterable[Record]) -> None:
        for key, value in records:
            self.records.append((self.clock.now, key, value))
            self.sent = self.acknowledged = self.sent + 1
            if self.sent >= self.stop_after:
                self.stop.request(signal.SIGTERM)

    def settle(self) -> None:
        self.settled_at = self.clock.now

    def close(self, timeout: float) -> None:
        pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(generator.run, "time", clock)
    monkeypatch.setattr(generator.stop, "time", clock)
    monkeypatch.setattr(generator.run, "utc_now", lambda: f"{clock.now}")
    return clock


def settings(**changes: float | str) -> Settings:
    run = {"num_entities": VEHICLES, "sensor_interval": 5, "script_duration": DURATION, "num_processes": 1}
    return generator_run.settings(**{**run, **changes})


def run(
    clock: Clock,
    faults: Faults | None,
    stop_after: float = math.inf,
    interval: float = 5,
    start: float = 1000,
) -> tuple[Log, list[Report]]:
    """The records that were sent and the reports, the final one last."""
    clock.now = start
    stop = Stop()
    log = Log(clock, stop, stop_after)
    reports: list[Report] = []
    end = Run(settings(sensor_interval=interval), Fleet(VEHICLES), faults, log, stop).send(reports.append)  # type: ignore[arg-type]
    return log, [*reports, end]


def test_iterations_after_the_first_are_by_the_clock(clock: Clock) -> None:
    log, _ = run(clock, None, start=1002)
    assert sorted({at for at, _, _ in log.records}) == pytest.approx([1002, *range(1005, 1102, 5)])


def test_a_run_without_faults_is_the_same_as_one_whose_shares_are_0(clock: Clock) -> None:
    plain, _ = run(clock, None)
    assert len(plain.records) == 20 * VEHICLES
    assert run(clock, faults(Shares()))[0].records == plain.records


def test_each_iteration_is_reported(clock: Clock) -> None:
    _, reports = run(clock, None, start=1002)
    assert reports[:2] == [Report(1, 0, 20, 20, 0), Report(2, 3, 40, 40, 0)]
    assert reports[-2:] == [Report(21, 98, 420, 420, 0), Report(21, 100, 420, 420, 0)]


def test_there_is_at_most_one_report_per_second(clock: Clock) -> None:
    _, reports = run(clock, None, interval=0.25)
    times = [report.elapsed for report in reports[:-1]]
    assert times == pytest.approx([*range(1, DURATION)])


def test_a_run_reports_while_it_waits_for_the_next_iteration(clock: Clock) -> None:
    log, reports = run(clock, None, interval=60, start=1020)
    assert [report.elapsed for report in reports] == pytest.approx([*range(0, 101, 5)])
    assert [report.iteration for report in reports] == [1] * 12 + [2] * 9
    assert log.settled_at == 1120  # a report counts what has a result by then


def test_a_run_ends_with_everything_sent(clock: Clock) -> None:
    faulty = faults(Shares(late=0.1, out_of_order=0.1))
    log, reports = run(clock, faulty)
    injected = faulty.injected()
    assert len({value for _, _, value in log.records}) == injected["readings"] == 20 * VEHICLES
    assert injected["late"] > 10 and injected["out_of_order"] > 10 and injected["cut_short"] == 0
    assert reports[-1].injected == injected
    assert reports[1].injected and reports[1].injected["readings"] < 2 * VEHICLES


def test_a_stopped_run_sends_the_readings_held_back(clock: Clock) -> None:
    faulty = faults(Shares(late=0.5))
    log, reports = run(clock, faulty, stop_after=50)
    injected = faulty.injected()
    assert injected["cut_short"] > 10
    assert len({value for _, _, value in log.records}) == len(log.records) == injected["readings"] == reports[-1].sent
    sent = Counter(key for _, key, _ in log.records)
    assert set(sent.values()) == {len(log.records) // VEHICLES}  # as many of every vehicle: none is missing


@pytest.mark.parametrize("share", [0, 0.5])
def test_faults_are_counted_only_where_there_are_some(
    share: float, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Stop()
    monkeypatch.setattr(generator.run, "Deliveries", lambda *_: Log(clock, stop))
    end = prepare(settings(script_duration=8, duplicate_share=share), WHOLE, {}, None, stop).send(lambda _report: None)  # type: ignore[arg-type]
    none = dict(late=0, out_of_order=0, gaps=0, cut_short=0, malformed=dict.fromkeys(MALFORMED, 0), malformed_total=0)
    assert end.sent == end.acknowledged
    if share:
        assert end.injected == {"readings": end.sent, "duplicates": end.sent - 2 * VEHICLES, **none}
        assert end.sent > 2 * VEHICLES
    else:
        assert end == Report(2, 8, 2 * VEHICLES, 2 * VEHICLES, 0)


@pytest.mark.parametrize(("process", "keys"), [(0, {b"3"}), (1, {b"1", b"4"}), (2, {b"2"})])
def test_a_process_gets_its_share_of_the_vehicles_and_of_the_records_in_flight(
    process: int, keys: set[bytes], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, bounds, seeds = Stop(), [], []
    monkeypatch.setattr(generator.run, "Deliveries", lambda _producer, _topic, bound, _stop: bounds.append(bound))
    monkeypatch.setattr(generator.run.Faults, "__init__", lambda _self, *arguments: seeds.append(arguments[-1]))
    monkeypatch.setattr(generator.run.Faults, "resume_from", lambda _self, _last: None)
    given = settings(num_entities=4, num_processes=3, max_in_flight=100, late_share=0.1, fault_seed=7)
    run = prepare(given, WHOLE.parts(3)[process], {4: 9}, None, stop)  # type: ignore[arg-type]
    assert {vehicle.key for vehicle in run.fleet.vehicles} == keys
    assert {vehicle.entity: vehicle.seq for vehicle in run.fleet.vehicles}.get(4, 9) == 9
    assert (bounds, seeds) == ([33], [7 + process])


def test_a_report_that_follows_another_has_the_sums_and_the_time_since_the_start() -> None:
    first = Report(2, 10, 40, 38, 2, {"late": 1, "malformed": {"missing": 2}}, "refused")
    assert first.followed_by(Report(1, 5, 20, 20, 0, {"late": 2, "malformed": {"missing": 0}}), begin=12) == Report(
        3, 17, 60, 58, 2, {"late": 3, "malformed": {"missing": 2}}, "refused"
    )
    assert Report().followed_by(first, begin=0) == first


def test_a_stop_ends_a_wait() -> None:
    stop = Stop()
    stop.request(signal.SIGINT)
    start = time.monotonic()
    stop.wait(60)
    assert time.monotonic() - start < 30
    assert stop.received == signal.SIGINT
    also = Stop(also=stop.is_requested)
    assert also.is_requested() and also.received is None


@pytest.mark.parametrize(
    ("moment", "interval", "left"),
    [
        (1000.0, 5, 5),
        (1000.004, 5, 4.996),
        (1002.0, 5, 3),
        (1004.9, 5, 0.1),
        (999.999, 5, 5.001),  # woken a little early: this iteration is that of 1000
        (1000.1, 0.25, 0.15),
        (1000.0, 0, 0),
        (1000.0, 1e-300, 0),
        (1000.0, 1e300, 1e300),
    ],
)
def test_the_next_iteration_is_due_at_a_whole_multiple_of_the_interval(
    moment: float, interval: float, left: float
) -> None:
    assert until_next(moment, interval) == pytest.approx(left, abs=1e-9)
