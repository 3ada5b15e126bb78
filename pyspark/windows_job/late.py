"""Late readings: Spark leaves them out of the windows, and the job writes them to a topic of their own."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from windows_job.reading import Form
from windows_job.validation import SHOWN_CHARACTERS, entity, is_vehicle, iso


def is_late(window: str, watermark: int) -> Column:
    """Whether a reading is late in a batch that began with `watermark` (milliseconds since the epoch)."""
    return F.unix_millis(F.window("time", window)["end"]) <= watermark


def late(parsed: DataFrame, form: Form, window: str, watermark: int) -> DataFrame:
    """The late readings of parse() as records of the late topic: `key` and `value` (JSON), both strings.

    The fields are in schemas/sensor-data-late.schema.json.
    """
    readings = parsed.where(F.col("valid") & is_vehicle() & is_late(window, watermark))
    text = F.coalesce("text", F.col("value").cast("string"))
    fields = [
        iso(name).alias(name)
        if name == "time"
        else entity()
        if name == "entity"
        else F.col(name)
        if name in form.fields
        else F.left(F.get_json_object(text, f"$.{name}"), F.lit(SHOWN_CHARACTERS)).alias(name)
        for name in form.names
    ]
    start, end = (iso(f"window.{side}").alias(f"window_{side}") for side in ("start", "end"))
    closed = iso(F.timestamp_millis(F.lit(watermark))).alias("watermark")
    record = F.struct(*fields, start, end, closed, "partition", "offset")
    key = F.concat_ws("/", "partition", "offset")
    return readings.withColumn("window", F.window("time", window)).select(
        key.alias("key"), F.to_json(record, {"ignoreNullFields": "false"}).alias("value")
    )
