"""What the windows job computes, by a real local Spark: literal readings in, exact rows out."""

import json
from functools import partial
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
import records
from generator.fleet import SIGNALS, Fleet
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from records import CONTROL, FORM, GOOD, NOON, changed, marker, raw, reading, windows
from service import contract
from stream import Stream
from windows_job import checkpoint
from windows_job.aggregation import recency, to_kafka
from windows_job.query import WindowsQuery
from windows_job.spark_internals import HadoopFolder
from windows_job.watchdog import Watchdog

COLUMNS = [
    "window",
    "window_start",
    "window_end",
    "entity",
    "count",
    "avg_temp",
    "min_temp",
    "max_temp",
    "last_humidity",
]


def aggregated(spark: SparkSession, *values: str) -> list[dict[str, Any]]:
    """The windows of these readings; of the columns those that there are at least."""
    rows = windows(raw(spark, *values)).orderBy("window_start", "entity").select(*COLUMNS)
    return [row.asDict() for row in rows.collect()]


def test_one_row_per_window_and_vehicle(spark: SparkSession) -> None:
    rows = aggregated(
        spark,
        reading("10:00:00.000", entity=1, temp=20.0, humidity=30.0, seq=1),
        reading("10:00:59.999", entity=1, temp=21.5, humidity=31.0, seq=2),
        reading("10:01:00.000", entity=1, temp=10.0, humidity=32.0, seq=3),  # the end of a window is the next one's
        reading("10:00:30.000", entity=2, temp=-5.25, humidity=33.0, seq=1),
    )
    first = {
        "window": "2026-01-01T10:00:00.000Z-2026-01-01T10:01:00.000Z",
        "window_start": "2026-01-01T10:00:00.000Z",
        "window_end": "2026-01-01T10:01:00.000Z",
    }
    second = {
        "window": "2026-01-01T10:01:00.000Z-2026-01-01T10:02:00.000Z",
        "window_start": "2026-01-01T10:01:00.000Z",
        "window_end": "2026-01-01T10:02:00.000Z",
    }
    assert rows == [
        first | dict(entity="1", count=2, avg_temp=20.75, min_temp=20.0, max_temp=21.5, last_humidity=31.0),
        first | dict(entity="2", count=1, avg_temp=-5.25, min_temp=-5.25, max_temp=-5.25, last_humidity=33.0),
        second | dict(entity="1", count=1, avg_temp=10.0, min_temp=10.0, max_temp=10.0, last_humidity=32.0),
    ]


def test_the_last_humidity_is_of_the_latest_time_then_the_highest_seq(spark: SparkSession) -> None:
    values: list[str] = []
    expected: dict[str, float] = {}  # by vehicle

    def case(last: float, *readings: tuple[str, float, int | None]) -> None:
        """Readings of one vehicle, of which the `last` humidity is expected: time, humidity, seq."""
        entity = len(expected)
        values.extend(reading(time, entity, 20.0, humidity, seq) for time, humidity, seq in readings)
        expected[str(entity)] = last

    case(
        70.0, ("10:00:05.000", 50.0, 7), ("10:00:09.000", 60.0, 4), ("10:00:09.000", 70.0, 5), ("10:00:01.000", 80.0, 9)
    )
    before = "10:00:08.999", 99.0, 2**63 - 1
    # whatever a seq may be, and none is less than any from 0
    extremes = [None, 0, 1, 5, 10**11, 2**63 - 1]
    for number in range(len(extremes)):
        readings = [("10:00:09.000", float(n), extremes[n]) for n in range(number + 1)]
        for order in (readings, readings[::-1]):
            case(number, *order, before)
    # below 0 is as good as none
    for seq in (-1, -(2**63)):
        case(1, before, ("10:00:09.000", 1.0, 0), ("10:00:09.000", 0.0, seq))
    assert {row["entity"]: row["last_humidity"] for row in aggregated(spark, *values)} == expected


def test_aggregates_are_of_the_values_that_are_there(spark: SparkSession) -> None:
    def partial_reading(time: str, entity: int, **signals: float | None) -> str:
        return json.dumps({"time": f"2026-01-01T{time}Z", "entity": entity, "seq": 1, **signals})

    rows = aggregated(
        spark,
        partial_reading("10:00:01.000", 1, temp=20.0, humidity=30.0),
        partial_reading("10:00:02.000", 1, humidity=31.0),
        partial_reading("10:00:03.000", 1, temp=22.5, humidity=None),
        partial_reading("10:00:04.000", 1, speed=50.0),
        partial_reading("10:00:05.000", 2, speed=50.0),
        partial_reading("10:00:05.000", 3, temp=7.0),
        partial_reading("10:00:05.000", 4, temp=None, humidity=40.0),
    )
    assert [tuple(row[name] for name in COLUMNS[3:]) for row in rows] == [
        ("1", 4, 21.25, 20.0, 22.5, 31.0),
        ("2", 1, None, None, None, None),
        ("3", 1, 7.0, 7.0, 7.0, None),
        ("4", 1, None, None, None, 40.0),
    ]


def test_a_signal_that_is_switched_on_is_aggregated_by_one_line(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = records.aggregations()
    monkeypatch.setattr(records, "aggregations", lambda: [*usual, F.max("speed").alias("max_speed")])
    fleet = Fleet(2, signals=SIGNALS)
    values = [value.decode() for time in ("00:10", "00:50") for _, value in fleet.records(f"2026-01-01T{time}:00.000Z")]
    speeds = [(str(json.loads(value)["entity"]), json.loads(value)["speed"]) for value in values]
    rows = windows(raw(spark, *values)).orderBy("window_start", "entity").select("entity", "max_speed").collect()
    assert [tuple(row) for row in rows] == speeds
    assert max(speed for _, speed in speeds) > 20


def test_windows_are_aggregated_by_hash(spark: SparkSession) -> None:
    plan = windows(raw(spark, GOOD))._jdf.queryExecution().toString()
    assert "HashAggregate(" in plan
    assert "SortAggregate(" not in plan


@pytest.mark.parametrize("window", [1, 60, 366 * 24 * 60 * 60])
def test_recency_has_room_for_every_window(spark: SparkSession, window: int) -> None:
    start = NOON.timestamp() // window * window
    order = [
        (0, None),
        (0, 0),
        (0, 1),
        (0, 2**63 - 1),
        (1, -1),
        (window * 10**6 - 1, 0),
        (window * 10**6 - 1, 2**63 - 1),
    ]
    rows = [(int(start) * 10**6 + micros, seq) for micros, seq in order]
    readings = spark.createDataFrame(rows, "micros LONG, seq LONG").withColumn("time", F.timestamp_micros("micros"))
    found = [row.recency for row in readings.select(recency(window).alias("recency")).collect()]
    assert found == sorted(set(found)) and found[0] == 0


def test_an_average_is_rounded_half_up_in_whatever_order_the_readings_come(spark: SparkSession) -> None:
    # Halfway between two hundredths: 20.01 and 20.02, and the sum of doubles depends on the order.
    temps = [20.01, 20.02] * 6 + [0.1, 0.2, 0.3, 39.71, 39.8, 40.0]
    exact = sum(round(temp * 100) for temp in temps) / len(temps)
    orders = [temps, temps[::-1], sorted(temps), [20.01, 20.02]]
    values = (reading("10:00:00.000", entity, temp) for entity, order in enumerate(orders) for temp in order)
    *averages, short = [row["avg_temp"] for row in aggregated(spark, *values)]
    assert averages == [pytest.approx(round(exact) / 100, abs=1e-9)] * 3
    assert short == 20.02


def test_a_window_comes_once_when_the_watermark_has_passed_its_end(stream: Stream) -> None:
    assert stream.batch(reading("10:00:10.000", 1, 20.0), reading("10:00:20.000", 2, 20.0)) == []
    # within the watermark: out of order, and still counted
    assert stream.batch(reading("10:03:59.000", 1, 20.0), reading("10:00:50.000", 1, 20.0)) == []
    # 10:04:00 less 3 minutes is the end of the first window: it closes, for both vehicles
    assert stream.batch(reading("10:04:00.000", 1, 20.0)) == [("10:00", "1", 2), ("10:00", "2", 1)]
    # late: its window is closed and doesn't come again
    assert stream.batch(reading("10:00:30.000", 1, 20.0)) == []
    assert stream.batch(reading("10:07:00.000", 1, 20.0)) == [("10:03", "1", 1)]


@pytest.mark.parametrize(
    ("watermark", "before", "closing"),
    [
        ("3 minutes", "10:03:59.999", "10:04:00.000"),
        ("90 seconds", "10:02:29.999", "10:02:30.000"),
        ("1 second", "10:01:00.999", "10:01:01.000"),
        ("5 minutes", "10:05:59.999", "10:06:00.000"),
    ],
)
def test_a_window_is_closed_at_the_same_moment_whatever_the_steps_of_the_watermark(
    stream: Stream, watermark: str, before: str, closing: str
) -> None:
    assert stream.batch(reading("10:00:59.999", 1, 20.0), reading(before, 1, 20.0), watermark=watermark) == []
    # not late yet
    assert stream.batch(reading("10:00:00.000", 1, 20.0), watermark=watermark) == []
    assert stream.batch(reading(closing, 1, 20.0), watermark=watermark) == [("10:00", "1", 2)]


def test_a_reading_that_can_close_nothing_costs_no_second_batch(stream: Stream) -> None:
    stream.batch(reading("10:00:00.000", 1, 20.0))
    for time, runs in (("10:00:05.000", 1), ("10:00:59.999", 1), ("10:01:00.000", 2), ("10:01:30.000", 1)):
        stream.batch(reading(time, 1, 20.0))
        assert stream.runs == runs


def test_what_is_rejected_is_counted_and_moves_no_watermark(stream: Stream) -> None:
    assert stream.batch(reading("10:00:10.000", 1, 20.0), "not json", changed(temp=99)) == []
    assert stream.rejects == 2
    # none of these is a reading, so none of them closes the window
    of_2099 = changed(time="2099-12-31T23:59:59.999Z")
    ahead = reading("12:00:10.001", 1, 20.0)
    broken = reading("10:30:00.000", 1, 99.0)
    assert stream.batch(of_2099, ahead, broken) == []
    assert stream.rejects == 3
    assert stream.batch(reading("10:00:50.000", 1, 20.0)) == []
    assert stream.rejects == 0
    assert stream.batch(reading("10:04:00.000", 1, 20.0)) == [("10:00", "1", 2)]


def test_a_vehicle_whose_clock_is_ahead_makes_no_other_late(stream: Stream) -> None:
    # Noon less a second: whatever a reading's time is, the watermark goes by Kafka's clock.
    assert stream.batch(reading("11:58:59.000", 1, 20.0), watermark="1 second") == []
    ahead = reading("12:00:09.000", 2, 20.0)
    assert stream.batch(ahead, watermark="1 second") == [("11:58", "1", 1)]
    # 12:00:09 less a second would have closed this window
    on_time = reading("11:59:59.500", 3, 20.0)
    assert stream.batch(on_time, watermark="1 second") == []
    assert stream.batch(marker("12:00:01.000"), topic=CONTROL, watermark="1 second", now="12:00:01") == [
        ("11:59", "3", 1)
    ]
    # and the one ahead counts in the window of its own time
    assert stream.batch(marker("12:01:01.000"), topic=CONTROL, watermark="1 second", now="12:01:01") == [
        ("12:00", "2", 1)
    ]


def test_a_marker_of_the_control_topic_closes_windows_and_leaves_no_row(stream: Stream) -> None:
    assert stream.batch(reading("10:00:10.000", 1, 20.0)) == []
    # the same in the raw topic is no reading
    assert stream.batch(marker("10:04:00.000")) == []
    assert stream.rejects == 1
    assert stream.batch(marker("10:04:00.000"), topic=CONTROL) == [("10:00", "1", 1)]
    assert stream.rejects == 0
    assert stream.batch(reading("10:08:00.000", 1, 20.0)) == []
    assert stream.batch(marker("10:12:00.000"), topic=CONTROL) == [("10:08", "1", 1)]


def test_a_marker_moves_the_watermark_and_opens_no_window(stream: Stream) -> None:
    assert stream.batch(reading("10:00:10.000", 1, 20.0)) == []
    assert stream.batch(marker("10:04:00.000"), topic=CONTROL) == [("10:00", "1", 1)]
    # nothing is left in the state, so the settings of the windows may change now
    assert stream.state_rows == 0


def test_a_batch_that_kafka_has_already_is_computed_for_its_state_and_written_nowhere(stream: Stream) -> None:
    sink: Any = SimpleNamespace(is_committed=lambda _: True)  # it has no commit()
    settings: Any = None
    folder: Any = None
    query = WindowsQuery(stream.spark, settings, FORM, sink, [])
    stream.batch(reading("10:00:10.000", 1, 20.0), write=partial(query._write, folder, Watchdog(lambda: None)))
    assert stream.batch(reading("10:04:10.000", 1, 20.0)) == [("10:00", "1", 1)]


def test_emitted_windows_are_as_the_contract_says(spark: SparkSession) -> None:
    without = '{"time":"2026-01-01T10:00:00.000Z","entity":3,"speed":5}'
    records = raw(spark, reading("10:00:00.000", 1, 20.0), reading("10:00:01.000", 2, -3.25), without)
    valid = jsonschema.Draft202012Validator(contract.topics()["aggregated"].schema)
    emitted = to_kafka(windows(records)).collect()
    assert len(emitted) == 3
    for row in emitted:
        valid.validate(json.loads(row.value))


def test_windows_get_other_columns_while_none_is_open(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stream.batch(reading("10:00:10.000", 1, 20.0)) == []
    assert stream.batch(marker("10:04:00.000"), topic=CONTROL) == [("10:00", "1", 1)]
    usual = records.aggregations()
    monkeypatch.setattr(records, "aggregations", lambda: [*usual, F.first("seq").alias("first_seq")])
    checkpoint.forget_state_schema(HadoopFolder(stream.spark, stream.checkpoint.as_uri()))
    assert stream.batch(reading("10:09:00.000", 2, 20.0)) == []
    assert stream.batch(reading("10:13:00.000", 2, 20.0)) == [("10:09", "2", 1)]
