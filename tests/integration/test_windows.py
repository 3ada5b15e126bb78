"""What the windows job computes, by a real local Spark: literal readings in, exact rows out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row, SparkSession
from rooms import windows_job

job = windows_job()


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    session = job.spark_session()
    yield session
    session.stop()


def raw(spark: SparkSession, *values: str | bytes | None) -> DataFrame:
    rows = [
        (bytearray(value.encode() if isinstance(value, str) else value) if value is not None else None,)
        for value in values
    ]
    return spark.createDataFrame(rows, "value BINARY")


def reading(time: str, entity: int, temp: float, humidity: float = 35.0, seq: int = 1) -> str:
    return json.dumps({"time": f"2026-01-01T{time}Z", "entity": entity, "temp": temp, "humidity": humidity, "seq": seq})


def aggregated(spark: SparkSession, *values: str) -> list[dict[str, Any]]:
    windows = job.aggregate(job.parse(raw(spark, *values)), "1 minute", "3 minutes")
    return [row.asDict() for row in windows.orderBy("window_start", "entity").collect()]


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
        first | dict(entity=1, count=2, avg_temp=20.75, min_temp=20.0, max_temp=21.5, last_humidity=31.0),
        first | dict(entity=2, count=1, avg_temp=-5.25, min_temp=-5.25, max_temp=-5.25, last_humidity=33.0),
        second | dict(entity=1, count=1, avg_temp=10.0, min_temp=10.0, max_temp=10.0, last_humidity=32.0),
    ]


def test_the_last_humidity_is_of_the_latest_time_then_the_highest_seq(spark: SparkSession) -> None:
    [row] = aggregated(
        spark,
        reading("10:00:05.000", 1, 20.0, humidity=50.0, seq=7),
        reading("10:00:09.000", 1, 20.0, humidity=60.0, seq=4),
        reading("10:00:09.000", 1, 20.0, humidity=70.0, seq=5),
        reading("10:00:01.000", 1, 20.0, humidity=80.0, seq=9),
    )
    assert row["last_humidity"] == 70.0


def test_an_average_is_rounded_half_up_in_whatever_order_the_readings_come(spark: SparkSession) -> None:
    # Halfway between two hundredths: 20.01 and 20.02, and the sum of doubles depends on the order.
    temps = [20.01, 20.02] * 6 + [0.1, 0.2, 0.3, 39.71, 39.8, 40.0]
    exact = sum(round(temp * 100) for temp in temps) / len(temps)
    for order in (temps, temps[::-1], sorted(temps)):
        [row] = aggregated(spark, *(reading("10:00:00.000", 1, temp) for temp in order))
        assert row["avg_temp"] == pytest.approx(round(exact) / 100, abs=1e-9)
    [row] = aggregated(spark, reading("10:00:00.000", 1, 20.01), reading("10:00:00.000", 1, 20.02))
    assert row["avg_temp"] == 20.02


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff\xfe\x00",
        "null",
        "[]",
        "not json",
        '{"time": "2026-01-01T10:00:00.000Z", "entity": 1',
        '{"entity": 1, "temp": 20.0, "humidity": 35.0, "seq": 1}',
        '{"time": "yesterday", "entity": 1, "temp": 20.0, "humidity": 35.0, "seq": 1}',
        '{"time": "2026-01-01T10:00:00.000Z", "temp": 20.0, "humidity": 35.0, "seq": 1}',
        '{"time": "2026-01-01T10:00:00.000Z", "entity": 1, "temp": "warm", "humidity": 35.0, "seq": 1}',
        '{"time": "2026-01-01T10:00:00.000Z", "entity": 1, "temp": NaN, "humidity": 35.0, "seq": 1}',
        '{"time": "2026-01-01T10:00:00.000Z", "entity": 99999999999, "temp": 1.0, "humidity": 35.0, "seq": 1}',
    ],
)
def test_what_is_no_reading_is_left_out_and_stops_nothing(spark: SparkSession, value: str | bytes | None) -> None:
    good = reading("10:00:00.000", 1, 20.0)
    assert job.parse(raw(spark, value, good)).count() == 1


def test_fields_that_nobody_knows_are_no_harm(spark: SparkSession) -> None:
    value = json.loads(reading("10:00:00.000", 1, 20.0)) | {"vin": "X", "colour": {"red": 1}}
    assert job.parse(raw(spark, json.dumps(value))).count() == 1


def test_a_window_comes_once_when_the_watermark_has_passed_its_end(spark: SparkSession, tmp_path: Path) -> None:
    """One file is one batch; the stream is drained after each, so what comes is known exactly."""
    source, out = tmp_path / "in", []
    source.mkdir()

    def batch(name: str, *values: str) -> list[Row]:
        out.clear()
        (source / name).write_text("\n".join(values))
        stream = spark.readStream.text(str(source)).selectExpr("CAST(value AS BINARY) AS value")
        windows = job.aggregate(job.parse(stream), "1 minute", "3 minutes")
        query = (
            windows.writeStream.foreachBatch(lambda rows, _: out.extend(rows.collect()))
            .option("checkpointLocation", str(tmp_path / "checkpoint"))
            .trigger(availableNow=True)
            .start()
        )
        assert query.awaitTermination(60)
        return [(row.window_start[11:16], row.entity, row["count"]) for row in out]

    assert batch("1", reading("10:00:10.000", 1, 20.0), reading("10:00:20.000", 2, 20.0)) == []
    # within the watermark: out of order, and still counted
    assert batch("2", reading("10:03:59.000", 1, 20.0), reading("10:00:50.000", 1, 20.0)) == []
    # 10:04:00 less 3 minutes is the end of the first window: it closes, for both vehicles
    assert sorted(batch("3", reading("10:04:00.000", 1, 20.0))) == [("10:00", 1, 2), ("10:00", 2, 1)]
    # late: its window is closed and doesn't come again
    assert batch("4", reading("10:00:30.000", 1, 20.0)) == []
    assert batch("5", reading("10:07:00.000", 1, 20.0)) == [("10:03", 1, 1)]
