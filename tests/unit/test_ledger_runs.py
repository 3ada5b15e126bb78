"""The generator's own count of what Kafka has acknowledged."""

import json
from dataclasses import replace

import pytest
from ledger_records import RECORDS, REJECTED, TOKENS, WINDOWS, close, judged, said
from reconciliation import runs
from reconciliation.result import Run


@pytest.mark.parametrize(("acknowledged", "code"), [(8, 0), (7, 0), (9, 1)])
def test_what_kafka_acknowledged_to_the_generator_is_in_the_topic(acknowledged: int, code: int) -> None:
    found = close(TOKENS, RECORDS, WINDOWS, REJECTED)
    first = Run("2026-01-01T00:00:00.000Z", "sending", 3, 3, 0)  # killed
    second = Run("2026-01-01T00:01:00.000Z", "finished", 9, acknowledged - 3, 0)
    found = replace(found, runs=[first, second])
    assert judged(found)[0] == code
    if code:
        assert said(found) == (
            "The ledger does not close: 1 record fewer in the raw topic than Kafka has acknowledged to the generator;"
            " see it in sensor-data-runs"
        )
        hidden = replace(found, held_back=1)
        assert judged(hidden)[0] == 0
        assert said(hidden).endswith(
            " An open transaction hides 1 offset of sensor-data-raw until its producer ends it."
        )


def test_the_newest_record_of_a_run_counts_and_what_is_not_one_is_ignored() -> None:
    def record(run: str, day: int, acknowledged: int) -> bytes:
        values = {"run": run, "started_at": f"2026-01-{day:02}T00:00:00.000Z", "state": "sending", "failed": 0}
        return json.dumps({**values, "sent": 9, "acknowledged": acknowledged}).encode()

    values = [record("b", 2, 1), b"hello", None, b"[]", record("a", 1, 5), record("b", 2, 9), b'{"run": "c"}']
    assert runs.newest(values) == [
        Run("2026-01-01T00:00:00.000Z", "sending", 9, 5, 0),
        Run("2026-01-02T00:00:00.000Z", "sending", 9, 9, 0),
    ]
