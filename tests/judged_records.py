"""What the job makes of records, by a real local Spark, and the reasons it gives."""

from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from records import GOOD, RAW, Value, parse, raw

PLAIN = GOOD[:-1] + ',"vin":"V"}'  # as the generator writes it
NOT_OBJECT = "not a JSON object with the fields of a reading"
NOT_ISO = "time is not a time in ISO 8601 such as 2026-11-25T10:00:00.000Z"
NO_ZONE = "time has no zone: Z or an offset such as +02:00 must follow it"
AHEAD = "time is more than 10 seconds ahead of the broker's clock"
NO_ENTITY = "entity is neither a text nor a whole number of 64 bits"
TEMP_RANGE = "temp is not in the range -50 to 60 °C"
NO_SIGNAL = "all signals are missing: one of temp, humidity must be there"
HUMIDITY_RANGE = "humidity is not in the range 0 to 100 %"


def judged(spark: SparkSession, *values: Value, topic: str = RAW) -> list[tuple[Any, ...]]:
    """What parse() makes of each value: time, entity, temp, humidity, seq, reason."""
    columns = parse(raw(spark, *values, topic=topic)).select(
        F.date_format("time", "HH:mm:ss.SSSSSS").alias("time"), "entity", "temp", "humidity", "seq", "reason", "offset"
    )
    return [tuple(row)[:-1] for row in sorted(columns.collect(), key=lambda row: row.offset)]


def reasons(spark: SparkSession, *values: Value, topic: str = RAW) -> list[str | None]:
    return [reason for *_, reason in judged(spark, *values, topic=topic)]
