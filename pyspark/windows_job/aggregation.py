"""Windows: readings grouped by event-time window and vehicle."""

import math
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from service.settings import milliseconds

from windows_job.reading import ENTITY
from windows_job.validation import entity, iso, readings


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


def newest(signal: str) -> Column:
    """The newest value of a signal in a window; readings without one don't count."""
    return F.max_by(signal, F.when(F.col(signal).isNotNull(), F.col("recency")))


def _steps(timestamp: str, length: int) -> Column:
    """A timestamp, rounded down to a whole multiple of `length` seconds: in seconds since the epoch."""
    seconds = F.unix_seconds(timestamp)
    return seconds - seconds % length


def aggregate(records: DataFrame, aggregations: Sequence[Column], window: str, watermark: str) -> DataFrame:
    """One row per window and vehicle: window ("start-end"), window_start, window_end, entity, then `aggregations`.

    `records` are those of fields(). `window` and `watermark` are durations as in "1 minute". Windows are aligned to the
    epoch, include their start and exclude their end. Times are ISO 8601, UTC, milliseconds. On a stream in append mode
    each row is emitted once, when the watermark (the newest `clock` less `watermark`, rounded down to whole steps) has
    passed its window's end. By `clock`, a vehicle whose clock is ahead doesn't make others late.
    """
    length, delay = milliseconds(window) // 1000, milliseconds(watermark) // 1000
    # Windows end and close at these steps only. A watermark that moved in between would close nothing, but Spark runs
    # one more batch whenever it moves.
    step = math.gcd(length, delay)
    window_end, clock = _steps("time", length) + length, _steps("clock", step)
    timed = records.select("*", F.timestamp_seconds(window_end).alias("window_end")).withColumn(
        "clock", F.timestamp_seconds(clock)
    )
    # Spark takes the lower of two watermarks, which is that of the clock; that of the end lets windows close. Markers
    # move the watermark too, and none opens a window.
    stream = timed.withWatermark("clock", watermark).withWatermark("window_end", watermark)
    # Spark groups faster where no key is a struct, as its own windows are, and none is null.
    keys = {name: F.coalesce(name, F.lit(default)) for name, default in zip(ENTITY, (0, ""), strict=True)}
    ordered = readings(stream).withColumns({**keys, "recency": recency(length)})
    windows = ordered.groupBy("window_end", *ENTITY).agg(*aggregations)
    start, end = iso(F.timestamp_seconds(F.unix_seconds("window_end") - length)), iso("window_end")
    return windows.select(
        F.concat(start, F.lit("-"), end).alias("window"),
        start.alias("window_start"),
        end.alias("window_end"),
        entity(),
        *(name for name in windows.columns if name not in ("window_end", *ENTITY)),
    )


def to_kafka(windows: DataFrame) -> DataFrame:
    """Rows of aggregate() as records: `key` (the vehicle) and `value` (JSON), both strings."""
    value = F.to_json(F.struct("*"), {"ignoreNullFields": "false"})
    return windows.select(F.col("entity").alias("key"), value.alias("value"))
