"""What has come behind the cut, while Druid was asked."""

from dataclasses import replace

from reconciliation.json_values import times
from reconciliation.result import Reconciliation, Rows
from reconciliation.topics import KafkaTopics


class Later:
    """The records of the raw topic behind the cut, which Druid may have read too. It has no offsets of its readings."""

    def __init__(self, kafka: KafkaTopics, raw: str, found: Reconciliation) -> None:
        self._kafka, self._raw, self._cut, self._expected = kafka, raw, found.cut, found.kafka
        self._position = dict(found.cut.offsets)
        self._old = self._recent = 0  # readings before the boundary of the cut, and the others

    def left_out(self, rows: Rows) -> Rows:
        """Druid's rows without the readings behind the cut: of the surplus, as much as came behind the cut."""
        recent = rows.recent_readings
        old = rows.readings - recent
        recent_surplus = max(0, recent - self._expected.recent_readings)
        old_surplus = max(0, old - (self._expected.readings - self._expected.recent_readings))
        if recent_surplus > self._recent or old_surplus > self._old:
            self._read_on()
        recent -= min(recent_surplus, self._recent)
        old -= min(old_surplus, self._old)
        return replace(rows, readings=old + recent, recent_readings=recent)

    def _read_on(self) -> None:
        end = self._kafka.committed_end(self._raw)
        for _, records in self._kafka.read(self._raw, self._position, end):
            old, recent = times((record.value for record in records), self._cut.boundary)
            self._old += old
            self._recent += recent
        self._position = end
