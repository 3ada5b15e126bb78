"""Windows: readings grouped by event-time window and vehicle."""

import math
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from service.settings import milliseconds

from windows_job.reading import MARKER
from windows_job.validation import iso


def recency(window_seconds: int) -> Column:
    """A long that orders the readings of one window by time, and by seq where times are equal.

    A seq that is negative or missing is the lowest. Those up to 2^63 / the window's microseconds are told apart, which
    is 10^11 with a minute; higher ones are equal. A struct or a decimal would hold any, but Spark aggregates a struct
    by sort instead of by hash, and a decimal creates objects for every reading: a tenth of all work.
    """
    window = window_seconds * 1_000_000
    span = 2**63 // window
    seq = F.when(F.col("seq") >= 0, F.least("seq", F.lit(span - 2)) + 1).otherwise(0)
    return F.unix_micros("time") % window * span + seq


def _whole_steps(timestamp: str, length: int) -> Column:
    """A timestamp, rounded down to a whole multiple of `length` seconds."""
    seconds = F.unix_seconds(timestamp)
    return F.timestamp_seconds(seconds - seconds % length)


def aggregate(readings: DataFrame, aggregations: Sequence[Column], window: str, watermark: str) -> DataFrame:
    """One row per window and vehicle: window ("start-end"), window_start, window_end, entity, then `aggregations`.

    `window` and `watermark` are durations as in "1 minute". Windows are aligned to the epoch, include their start and
    exclude their end. Times are ISO 8601, UTC, milliseconds. On a stream in append mode each row is emitted once, when
    the watermark (the newest `clock` less `watermark`, rounded down to whole steps) has passed its window's end.
    `clock` is the event time, but at most Kafka's timestamp: a vehicle whose clock is ahead doesn't make others late.
    """
    start, end = iso("window.start"), iso("window.end")
    length, delay = milliseconds(window) // 1000, milliseconds(watermark) // 1000
    # Windows start, end and close at whole steps only. A watermark that moved in between would close nothing, but Spark
    # runs one more batch whenever it moves.
    step, clock_step = (_whole_steps(column, math.gcd(length, delay)) for column in ("time", "clock"))
    ordered = readings.withColumns({"step": step, "clock_step": clock_step, "recency": recency(length)})
    # Spark takes the lower of two watermarks, which is that of the clock; that of `step` lets windows of it close.
    stream = ordered.withWatermark("clock_step", watermark).withWatermark("step", watermark)
    # The markers have moved the watermark, and none may open a window. Spark would move a condition without the event
    # time below the watermark, which then would not see them.
    vehicles = stream.where((F.col("entity") != MARKER) | (F.unix_seconds("step") < 0))
    windows = vehicles.groupBy(F.window("step", window), "entity").agg(*aggregations)
    computed = [name for name in windows.columns if name not in ("window", "entity")]
    return windows.select(
        F.concat(start, F.lit("-"), end).alias("window"),
        start.alias("window_start"),
        end.alias("window_end"),
        "entity",
        *computed,
    )


def to_kafka(windows: DataFrame) -> DataFrame:
    """Rows of aggregate() as records: `key` (the vehicle) and `value` (JSON), both strings."""
    return windows.select(F.col("entity").alias("key"), F.to_json(F.struct("*")).alias("value"))
