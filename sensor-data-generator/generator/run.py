"""The run of one process: in each iteration, it sends a reading of every vehicle."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from kafka import KafkaProducer
from service.state import utc_now

from generator.delivery import Deliveries
from generator.faults import Faults
from generator.fleet import Fleet, Share, chosen
from generator.settings import Settings
from generator.stop import Stop

# Seconds without a report, at most, while a run waits for its next iteration
REPORT_INTERVAL = 5
# Seconds to wait at the end for the last acknowledgements.
WAIT_FOR_ACKNOWLEDGEMENTS = 8


class Report(NamedTuple):
    """The progress of a run, of one process or of all."""

    iteration: int = 0
    elapsed: float = 0  # seconds since the start
    sent: int = 0
    acknowledged: int = 0
    failed: int = 0
    injected: dict[str, Any] | None = None  # Faults.injected(); None without faults
    last_error: str | None = None
    ended: bool = False  # the last report of a worker process

    def followed_by(self, later: "Report", begin: float) -> "Report":
        """The report of a run in parts: this one's, and a later one that began `begin` seconds after the run."""
        counts = [each.injected for each in (self, later) if each.injected]
        return Report(
            self.iteration + later.iteration,
            begin + later.elapsed,
            self.sent + later.sent,
            self.acknowledged + later.acknowledged,
            self.failed + later.failed,
            sum_of_counts(counts),
            later.last_error or self.last_error,
        )


def sum_of_counts(counts: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The sum of several Faults.injected(), name by name; None if there are none."""
    if not counts:
        return None
    return {
        name: sum_of_counts([each[name] for each in counts])
        if isinstance(value, dict)
        else sum(each[name] for each in counts)
        for name, value in counts[0].items()
    }


@dataclass
class Run:
    """The parts of a run."""

    settings: Settings
    fleet: Fleet
    faults: Faults | None
    deliveries: Deliveries
    stop: Stop

    def send(self, on_progress: Callable[[Report], None]) -> Report:
        """Send readings until the end of the run and return the final report.

        `on_progress` gets a report after each iteration and every REPORT_INTERVAL seconds, but at most one per second.
        """
        interval, duration = self.settings.sensor_interval, self.settings.script_duration
        start = last_progress = time.monotonic()
        iteration = 0
        while not self.stop.is_requested() and time.monotonic() - start < duration:
            due = until_next(time.time(), interval) + time.monotonic()
            if self.faults:
                self._send_with_faults(self.faults, time.monotonic() - start)
            else:
                self.deliveries.send(self.fleet.records(utc_now()))
            iteration += 1
            if interval >= 1 or time.monotonic() - last_progress >= 1:
                last_progress = time.monotonic()
                on_progress(self._report(iteration, last_progress - start))
            end = min(due, start + duration)
            while end - time.monotonic() > REPORT_INTERVAL and not self.stop.is_requested():
                self.stop.wait(REPORT_INTERVAL)
                on_progress(self._report(iteration, time.monotonic() - start))
            self.stop.wait(end - time.monotonic())
        if self.faults:
            # At the end of a run all readings held back are due. Only a stopped run leaves some to flush().
            self.deliveries.send(self.faults.due(time.monotonic() - start))
            self.deliveries.send(self.faults.flush())
        self.deliveries.close(WAIT_FOR_ACKNOWLEDGEMENTS)
        return self._report(iteration, time.monotonic() - start)

    def _send_with_faults(self, faults: Faults, elapsed: float) -> None:
        """Send one iteration, `elapsed` seconds after the start."""
        records = self.fleet.records(utc_now())
        self.deliveries.send(sent for record in records for sent in faults.send(record, elapsed))
        # After the new readings: sent before them, a reading held back for less than an interval would be in order.
        self.deliveries.send(faults.due(elapsed))

    def _report(self, iteration: int, elapsed: float) -> Report:
        deliveries = self.deliveries
        deliveries.settle()
        return Report(
            iteration,
            elapsed,
            deliveries.sent,
            deliveries.acknowledged,
            deliveries.failed,
            self.faults.injected() if self.faults else None,
            str(deliveries.last_error) if deliveries.last_error else None,
        )


def prepare(settings: Settings, share: Share, last: Mapping[int, int], producer: KafkaProducer, stop: Stop) -> Run:
    """The run of a process that has `share` of the vehicles. `last` is the result of last_seq()."""
    fleet = Fleet(settings.num_entities, last, share=share, signals=chosen(settings.signals))
    faults = None
    if any(settings.shares):
        seed = settings.fault_seed + share.number
        faults = Faults(settings.shares, settings.late_by, settings.out_of_order_by, settings.script_duration, seed)
        faults.resume_from(last)
    max_in_flight = max(1, settings.max_in_flight // settings.processes)
    deliveries = Deliveries(producer, settings.kafka_raw_topic, max_in_flight, stop.is_requested)
    return Run(settings, fleet, faults, deliveries, stop)


def until_next(moment: float, interval: float) -> float:
    """Seconds from `moment` (since the epoch), when an iteration begins, until the next one is due.

    Iterations are due at whole multiples of `interval`, like those of a device that reads its sensors by the clock. So
    the reading that closes a window of whole intervals comes without delay. A moment less than a hundredth of an
    interval before a multiple belongs to it: while the clock is being adjusted, the process may wake a little early.
    """
    if not interval:
        return 0
    left = interval - moment % interval
    return left if left > interval / 100 else left + interval
