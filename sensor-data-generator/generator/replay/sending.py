"""The sending of a recording to Kafka, once or in a loop, at the speed asked for."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from generator.delivery import Deliveries
from generator.replay.errors import BadRecording
from generator.replay.recording import Recording, Summary
from generator.replay.times import BETWEEN_PASSES, check_not_ahead, due
from generator.run import Report
from generator.stop import Stop

# Kafka keeps the order of records within a partition only. Of two partitions that the windows job reads at different
# speeds, one would move the watermark beyond readings of the other that it has not read yet.
PARTITION = 0
REPORT_INTERVAL = 1  # seconds

logger = logging.getLogger(__name__)


@dataclass
class Sending:
    """One replay. `speed` is how many times as fast as recorded, 0 as fast as possible."""

    recording: Recording
    summary: Summary
    speed: float
    loop: bool
    seconds_ahead: int  # of Kafka's clock that the contract allows
    deliveries: Deliveries
    stop: Stop
    on_progress: Callable[[Report], None]
    passes: int = 0

    def __post_init__(self) -> None:
        self._start = self._reported = time.monotonic()

    def send(self, shift: int) -> None:
        """Send all records, their times shifted by `shift` microseconds, until the end or a request to stop.

        In a loop, each pass begins a second after the last time of the one before.
        """
        span = self.summary.last - self.summary.first + BETWEEN_PASSES
        self._start = time.monotonic()
        for self.passes in count(1):
            earlier = (self.passes - 1) * span
            if not self._send_pass(shift + earlier, earlier) or not self.loop:
                return

    def _send_pass(self, shift: int, earlier: int) -> bool:
        """Whether all was sent. `earlier` is how many microseconds of the recording the passes before took."""
        first, last = self.summary.first + shift, self.summary.last + shift
        if earlier:
            try:
                check_not_ahead(first, last, self.speed, time.time_ns() // 1000, self.seconds_ahead)
            except BadRecording as error:
                logger.info("the loop ends before its next pass. %s", error)
                self.passes -= 1
                return False

        def elapsed() -> float:
            return time.monotonic() - self._start - earlier / 1e6 / self.speed

        for records in due(self.recording.blocks(shift), first, self.speed, elapsed, self.stop.wait):
            if self.stop.is_requested():
                return False
            self.deliveries.send(records, to=PARTITION)
            if time.monotonic() - self._reported >= REPORT_INTERVAL:
                self._reported = time.monotonic()
                self.on_progress(self.report())
        return True

    def report(self) -> Report:
        deliveries = self.deliveries
        deliveries.settle()
        return Report(
            iteration=self.passes,
            elapsed=time.monotonic() - self._start,
            sent=deliveries.sent,
            acknowledged=deliveries.acknowledged,
            failed=deliveries.failed,
            last_error=str(deliveries.last_error) if deliveries.last_error else None,
        )

    def described(self, report: Report) -> str:
        """The progress in words: the share of the present pass, the rate and the time left."""
        of_pass = report.sent - (self.passes - 1) * self.summary.records
        share = of_pass / self.summary.records
        rate = report.sent / max(report.elapsed, 0.001)
        left = (self.summary.records - of_pass) / max(rate, 0.001)
        if self.speed:
            each = (self.summary.last - self.summary.first + BETWEEN_PASSES) / 1e6 / self.speed
            left = self.passes * each - BETWEEN_PASSES / 1e6 / self.speed - report.elapsed
        return (
            f"{'pass ' + str(self.passes) + ': ' if self.loop else ''}{of_pass:,} of {self.summary.records:,} readings"
            f" sent ({share:.0%}), {rate:,.0f} readings/s, {max(0, left):,.0f} s left"
        )
