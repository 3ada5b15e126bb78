"""Signals that are switched on, and signals that are missing, from the generator to Druid."""

import json
from datetime import UTC, datetime

import pytest
from kafka import KafkaProducer
from pipeline import AGGREGATED, RAW, Pipeline, assert_every_window_is_right

pytestmark = pytest.mark.timeout(900)


def test_a_signal_that_is_switched_on_is_a_column_of_its_type_in_druid(stack: Pipeline) -> None:
    before = stack.closed()
    stack.started("run", SIGNALS="temp, speed, odometer", SCRIPT_DURATION="10")
    sent = stack.generator()["run"]["acknowledged"]
    after = stack.closed()
    assert after["in_windows"] - before["in_windows"] == sent > 500
    [row] = stack.sql(
        "SELECT COUNT(*) AS n, COUNT(humidity) AS h, COUNT(latitude) AS l, MIN(odometer) AS o, MAX(speed) AS s"
        f' FROM "{RAW}" WHERE speed IS NOT NULL AND odometer IS NOT NULL AND temp IS NOT NULL'
    )
    assert (row["n"], row["h"], row["l"]) == (sent, 0, 0)
    assert row["o"] > 5000 and 20 < row["s"] < 110
    types = stack.sql(
        f"SELECT COLUMN_NAME AS name, DATA_TYPE AS type FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = '{RAW}'"
        " AND COLUMN_NAME IN ('speed', 'odometer')"
    )
    assert {row["name"]: row["type"] for row in types} == {"speed": "DOUBLE", "odometer": "DOUBLE"}
    assert_every_window_is_right(stack.kafka, stack.router)


def test_readings_with_gaps_are_in_windows_and_one_without_a_signal_is_rejected(stack: Pipeline) -> None:
    before, rows = stack.closed(), stack.rows(RAW)
    time = datetime.now(UTC).isoformat()
    signals = [{"temp": 20.5}, {"humidity": 40}, {"temp": None, "fuel_level": 55.5}, {}, {"temp": None}, {"speed": -1}]
    with KafkaProducer(bootstrap_servers=stack.kafka) as producer:
        for each in signals:
            producer.send(RAW, json.dumps({"time": time, "entity": "truck-906", **each}).encode()).get(timeout=30)
    after = stack.closed()
    assert after["in_windows"] - before["in_windows"] == stack.rows(RAW) - rows == 3
    assert after["rejected"] - before["rejected"] == 3
    [window] = stack.sql(
        f'SELECT "count", avg_temp, min_temp, max_temp, last_humidity FROM "{AGGREGATED}" WHERE entity = \'truck-906\''
    )
    assert window == {"count": 3, "avg_temp": 20.5, "min_temp": 20.5, "max_temp": 20.5, "last_humidity": 40.0}
