"""Aggregate the sensor readings by event-time window and vehicle, from Kafka back into Kafka.

Runs as `python pyspark/pyspark.py` and with spark-submit, from any folder.
"""

import os
import sys

# Python puts this file's folder first on the search path, where `import pyspark` would find this file instead of
# PySpark. The folder goes to the end, so that PySpark is found first and the neighbours of this file still are.
_here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [path for path in sys.path if os.path.abspath(path) != _here] + [_here]

import json  # noqa: E402
import re  # noqa: E402
import signal  # noqa: E402
from datetime import UTC, datetime  # noqa: E402
from pathlib import Path  # noqa: E402

from kafka.errors import KafkaError  # noqa: E402
from py4j.protocol import Py4JError  # noqa: E402
from pyspark.errors import PySparkException  # noqa: E402
from pyspark.sql import Column, DataFrame, SparkSession  # noqa: E402
from pyspark.sql import functions as F  # noqa: E402
from pyspark.sql.streaming.query import StreamingQuery  # noqa: E402

from sink import CheckpointMismatch, ExactlyOnceSink  # noqa: E402

# Kafka configuration
kafka_bootstrap_servers = "kafka0:29092"
kafka_input_topic = "sensor-data-raw"
kafka_output_topic = "sensor-data-aggregated"
kafka_progress_topic = "sensor-data-progress"  # one token per batch, written together with its windows (sink.py)

# Spark configuration
spark_master = "local[2]"
spark_driver_memory = "768m"
trigger_interval = "1 second"  # how often Spark looks for new readings
max_offsets_per_trigger = 1_000_000  # readings in one batch at most; bounds its memory when there is much to catch up
shuffle_partitions = 2  # fixed by the checkpoint once there is one
checkpoint_location = "/var/lib/sensor-data/checkpoint"
progress_file = "/var/lib/sensor-data/progress.json"  # written every few seconds, for whoever asks how the job is

# How late a reading may come, and how long a window is. A window is emitted when a reading was seen that is
# newer than its end by the watermark duration.
watermark_duration = "3 minutes"
window_duration = "1 minute"

# The fields of a reading that are used here, as Spark SQL types.
READING = "time TIMESTAMP, entity INT, temp DOUBLE, humidity DOUBLE, seq BIGINT"


def aggregations() -> list[Column]:
    """What is computed of the readings of one vehicle in one window, by name: add your own here."""
    return [
        F.count("*").alias("count"),
        # Rounded twice: doubles added in another order differ in the last bit, and that bit must not decide how an
        # average halfway between two hundredths is rounded. So a window is the same however often it is computed.
        F.round(F.round(F.avg("temp"), 6), 2).alias("avg_temp"),
        F.min("temp").alias("min_temp"),
        F.max("temp").alias("max_temp"),
        # Of the latest reading; seq decides between two of the same millisecond.
        F.max_by("humidity", F.struct("time", "seq")).alias("last_humidity"),
    ]


def parse(raw: DataFrame) -> DataFrame:
    """The readings in Kafka's binary column `value`: the columns of READING.

    A record without a time, a vehicle or a number for temp and humidity is no reading and left out.
    """
    json_text = F.col("value").cast("string")
    reading = F.from_json(json_text, READING, {"allowNonNumericNumbers": "false"}).alias("reading")
    return raw.select(reading).select("reading.*").dropna(subset=["time", "entity", "temp", "humidity"])


def aggregate(readings: DataFrame, window: str, watermark: str) -> DataFrame:
    """One row per window and vehicle: window ("start-end"), window_start, window_end, entity, then aggregations().

    `window` and `watermark` are durations as in "1 minute". Windows are aligned to the epoch; a window holds its start
    and not its end. Times are ISO 8601, UTC, milliseconds. On a stream in append mode a row comes once, when the
    watermark (the latest time seen less `watermark`) has passed its window's end.
    """
    start, end = _iso("window.start"), _iso("window.end")
    windows = readings.withWatermark("time", watermark).groupBy(F.window("time", window), "entity").agg(*aggregations())
    computed = [name for name in windows.columns if name not in ("window", "entity")]
    return windows.select(
        F.concat(start, F.lit("-"), end).alias("window"),
        start.alias("window_start"),
        end.alias("window_end"),
        "entity",
        *computed,
    )


def _iso(timestamp: str) -> Column:
    return F.date_format(timestamp, "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'")


def to_kafka(windows: DataFrame) -> DataFrame:
    """Rows of aggregate() as records: `key` (the vehicle) and `value` (JSON), both strings."""
    return windows.select(F.col("entity").cast("string").alias("key"), F.to_json(F.struct("*")).alias("value"))


# --- from here on: wiring ---------------------------------------------------------------------------------------------

WAIT_FOR_KAFKA = 120  # seconds to wait for the broker at the start
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_stopped = False


class BadSetting(Exception):
    """A constant, or the environment variable that overrides it, is not allowed."""


def duration_seconds(name: str, duration: str) -> int:
    """The seconds of a duration such as "1 minute" or "90 seconds"; raises BadSetting naming `name`."""
    match = re.fullmatch(r"\s*(\d+)\s+(second|minute|hour|day)s?\s*", duration)
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    if not 0 < seconds <= 366 * 86400:
        raise BadSetting(
            f"{name.upper()} (or {name}) is {duration!r}: it must be a whole number above 0 and a unit"
            ' (second, minute, hour or day), as in "90 seconds" or "1 minute".'
        )
    return seconds


def whole_number(name: str, value: str | int) -> int:
    """`value` as a whole number above 0; raises BadSetting naming `name`."""
    if not re.fullmatch(r"0*[1-9]\d{0,9}", str(value)):
        raise BadSetting(f"{name.upper()} (or {name}) is {value!r}: it must be a whole number, 1 or more.")
    return int(value)


def setting(name: str) -> str:
    """The constant `name`, or the environment variable of the same name in capitals where it is set."""
    return os.environ.get(name.upper(), str(globals()[name]))


def spark_session() -> SparkSession:
    log4j = Path(_here, "log4j2.properties").as_uri()
    return (
        SparkSession.builder.appName("sensor-data")
        .master(setting("spark_master"))
        .config("spark.driver.memory", setting("spark_driver_memory"))
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.extraJavaOptions", f"-XX:+UseParallelGC -Dlog4j2.configurationFile={log4j}")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", whole_number("shuffle_partitions", setting("shuffle_partitions")))
        .getOrCreate()
    )


def start_query(spark: SparkSession, sink: ExactlyOnceSink, checkpoint: str) -> StreamingQuery:
    raw = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", setting("kafka_bootstrap_servers"))
        .option("subscribe", setting("kafka_input_topic"))
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", whole_number("max_offsets_per_trigger", setting("max_offsets_per_trigger")))
        .option("kafka.max.partition.fetch.bytes", 16 * 1024 * 1024)
        .load()
    )
    windows = aggregate(parse(raw), setting("window_duration"), setting("watermark_duration"))
    return (
        to_kafka(windows)
        .writeStream.queryName("sensor-data")
        .outputMode("append")
        .trigger(processingTime=setting("trigger_interval"))
        .option("checkpointLocation", checkpoint)
        .foreachBatch(sink.write)
        .start()
    )


def report(query: StreamingQuery, last_batch: int, window_seconds: int, watermark_seconds: int) -> int:
    """Print a line for a new batch, write the progress file, return the number of the newest batch."""
    progress = query.lastProgress
    batch = last_batch
    state = {
        "written_at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "window_seconds": window_seconds,
        "watermark_seconds": watermark_seconds,
    }
    if progress:
        batch, rows = progress["batchId"], progress["numInputRows"]
        watermark = (progress.get("eventTime") or {}).get("watermark")
        state |= {"batch": batch, "watermark": watermark, "offsets": json.loads(progress["sources"][0]["endOffset"])}
        if batch != last_batch:
            print(f"batch {batch}: {rows} readings, watermark {watermark}", flush=True)
    path = Path(setting("progress_file"))
    new = path.with_suffix(".new")
    new.write_text(json.dumps(state))
    new.replace(path)
    return batch


def _stop(_signum: int, _frame: object) -> None:
    global _stopped
    _stopped = True


def run() -> None:
    """Run the query until a signal comes. Raises what stops it."""
    window_seconds = duration_seconds("window_duration", setting("window_duration"))
    watermark_seconds = duration_seconds("watermark_duration", setting("watermark_duration"))
    duration_seconds("trigger_interval", setting("trigger_interval"))
    checkpoint = Path(setting("checkpoint_location"))
    checkpoint.mkdir(parents=True, exist_ok=True)
    topics = setting("kafka_output_topic"), setting("kafka_progress_topic")
    spark = spark_session()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    servers = setting("kafka_bootstrap_servers")
    print(f"connecting to Kafka at {servers}, for up to {WAIT_FOR_KAFKA} s", flush=True)
    sink = ExactlyOnceSink(servers, *topics, checkpoint, WAIT_FOR_KAFKA)
    query = start_query(spark, sink, str(checkpoint))
    print(
        f"{setting('kafka_input_topic')} -> {topics[0]}: windows of {setting('window_duration')},"
        f" watermark {setting('watermark_duration')}, checkpoint in {checkpoint}",
        flush=True,
    )
    batch = -1
    while not _stopped and not query.awaitTermination(1):  # raises what ended the query
        batch = report(query, batch, window_seconds, watermark_seconds)
    query.stop()
    spark.stop()
    print("stopped; the next start goes on from here", flush=True)


def first_line(error: Exception) -> str:
    """What an error says, without Java's stack trace; of an error in Java the innermost cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return causes[-1] if causes else lines[0] if lines else type(error).__name__


def main() -> None:
    try:
        run()
    except BadSetting as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except CheckpointMismatch as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KafkaError as error:
        sys.exit(f"The windows job can't reach Kafka at {setting('kafka_bootstrap_servers')}: {error}")
    except OSError as error:
        sys.exit(f"The windows job can't write its state: {error}. Check the folder and the space on its disk.")
    except (PySparkException, Py4JError) as error:
        sys.exit(f"The windows job ended: {first_line(error)}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
