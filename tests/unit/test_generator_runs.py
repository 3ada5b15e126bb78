"""What a run writes to the runs topic, and what happens when it can't."""

import json
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
from generator import runs
from generator.run import Report
from generator.runs import RunLog
from kafka.errors import KafkaError, KafkaTimeoutError
from service.contract import topics


class FakeProducer:
    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.keys: set[bytes] = set()
        self.raises: KafkaError | None = None
        self.fails: KafkaError | None = None
        self.closed = False

    def send(self, topic: str, key: bytes, value: bytes) -> Any:
        assert topic == "runs"
        if self.raises:
            raise self.raises
        self.keys.add(key)
        self.records.append(json.loads(value))

        def get(timeout: float) -> None:
            assert timeout < 10
            if self.fails:
                raise self.fails

        return SimpleNamespace(get=get)

    def close(self, timeout: float) -> None:
        self.closed = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(runs, "time", clock)
    return clock


def test_a_run_writes_its_counts_every_few_seconds_and_at_the_end(clock: SimpleNamespace) -> None:
    producer = FakeProducer()
    log = RunLog(producer, "runs")  # type: ignore[arg-type]
    log.update(Report())
    for second in range(1, 11):
        clock.now = 1000 + second
        log.update(Report(second, second, 10 * second, 9 * second, second))
    log.close("stopped", Report(11, 11, 110, 105, 5))
    counts = [(each["state"], each["sent"], each["acknowledged"], each["failed"]) for each in producer.records]
    assert counts == [("sending", 0, 0, 0), ("sending", 40, 36, 4), ("sending", 80, 72, 8), ("stopped", 110, 105, 5)]
    [run] = {each["run"] for each in producer.records}
    assert producer.keys == {run.encode()}
    assert producer.closed
    for record in producer.records:
        jsonschema.validate(record, topics()["runs"].schema)
    assert RunLog(producer, "runs")._run != run  # type: ignore[arg-type]


def test_a_kafka_that_is_down_meanwhile_does_not_stop_the_run(clock: SimpleNamespace) -> None:
    producer = FakeProducer()
    producer.raises = KafkaTimeoutError("no metadata")
    RunLog(producer, "runs").update(Report())  # type: ignore[arg-type]
    assert not producer.records


@pytest.mark.parametrize("how", ["raises", "fails"])
def test_an_end_that_could_not_be_written_is_a_warning(how: str, caplog: pytest.LogCaptureFixture) -> None:
    producer = FakeProducer()
    setattr(producer, how, KafkaTimeoutError("no answer"))
    RunLog(producer, "runs").close("finished", Report())  # type: ignore[arg-type]
    assert caplog.messages == ["runs lacks the end of this run, which the ledger needs: KafkaTimeoutError: no answer"]
    assert producer.closed
