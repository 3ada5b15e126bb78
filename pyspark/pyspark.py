"""Aggregate the sensor readings by event-time window and vehicle, from Kafka back into Kafka.

Runs as `python pyspark/pyspark.py` and with spark-submit, from any folder.
"""

import os
import sys

# Python puts this file's folder first on the search path, where `import pyspark` would find this file instead of
# PySpark. The folder goes to the end, so that PySpark is found first and the neighbours of this file still are.
_here = os.path.dirname(os.path.abspath(__file__))
# batch.py lives with the generator; in the container it is a neighbour too.
_generator = os.path.join(os.path.dirname(_here), "sensor-data-generator")
sys.path[:] = [path for path in sys.path if os.path.abspath(path) != _here] + [_here, _generator]

import json  # noqa: E402
import math  # noqa: E402
import signal  # noqa: E402
import time  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from datetime import UTC, datetime  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from allowed import BadSetting, duration_millis, duration_seconds, whole_number  # noqa: E402
from kafka.errors import KafkaError  # noqa: E402
from py4j.protocol import Py4JError  # noqa: E402
from pyspark.errors import PySparkException  # noqa: E402
from pyspark.sql import Column, DataFrame, SparkSession  # noqa: E402
from pyspark.sql import functions as F  # noqa: E402
from pyspark.sql.streaming.query import StreamingQuery  # noqa: E402

from kafka import KafkaProducer, TopicPartition  # noqa: E402

import checkpoint as spark_checkpoint  # noqa: E402
import silence  # noqa: E402
from contract import CLOCK_AHEAD_SECONDS, iso, parse, readings, rejected  # noqa: E402
from session import spark_session, why_spark_ended  # noqa: E402
from sink import DoesNotFit, ExactlyOnceSink, check_fit, end_offsets, last_record  # noqa: E402

# Kafka configuration
kafka_bootstrap_servers = "kafka0:29092"
kafka_input_topic = "sensor-data-raw"
kafka_output_topic = "sensor-data-aggregated"
kafka_rejected_topic = "sensor-data-rejected"  # what is no reading, with the reason
kafka_progress_topic = "sensor-data-progress"  # one token per batch, written together with its windows (sink.py)
kafka_control_topic = "sensor-data-control"  # one marker per silence, which closes the last windows (silence.py)

# Spark configuration
spark_master = "local[2]"
spark_driver_memory = "768m"
trigger_interval = "500 milliseconds"  # how often Spark looks for new readings
max_offsets_per_trigger = 1_000_000  # readings in one batch at most; bounds its memory when there is much to catch up
shuffle_partitions = 2  # fixed by the checkpoint once there is one
checkpoint_location = "/var/lib/sensor-data/checkpoint"
progress_file = "/var/lib/sensor-data/progress.json"  # written every few seconds, for whoever asks how the job is

# How late a reading may come, and how long a window is. A window is emitted when a reading was seen that is
# newer than its end by the watermark duration, or when nothing came for the time of both.
watermark_duration = "3 minutes"
window_duration = "1 minute"


def aggregations() -> list[Column]:
    """What is computed of the readings of one vehicle in one window, by name: add your own here.

    Their columns are time, temp, humidity, seq, and recency, which is the highest in the newest one.
    """
    return [
        F.count("*").alias("count"),
        # Rounded twice: doubles added in another order differ in the last bit, and that bit must not decide how an
        # average halfway between two hundredths is rounded. So a window is the same however often it is computed.
        F.round(F.round(F.avg("temp"), 6), 2).alias("avg_temp"),
        F.min("temp").alias("min_temp"),
        F.max("temp").alias("max_temp"),
        F.max_by("humidity", "recency").alias("last_humidity"),
    ]


def recency(window_seconds: int) -> Column:
    """A long that orders the readings of one window by time, and by seq where times are the same.

    A seq below 0, or none, is the lowest then. There is room for those up to 2^63 / the window's microseconds, which is
    10^11 with a minute: higher ones are all the same. A struct or a decimal would hold any, but Spark aggregates the
    one by sort instead of by hash, and computes the other by objects made for every reading: a tenth of all work.
    """
    window = window_seconds * 1_000_000
    room = 2**63 // window
    seq = F.when(F.col("seq") >= 0, F.least("seq", F.lit(room - 2)) + 1).otherwise(0)
    return F.unix_micros("time") % window * room + seq


def aggregate(readings: DataFrame, window: str, watermark: str) -> DataFrame:
    """One row per window and vehicle: window ("start-end"), window_start, window_end, entity, then aggregations().

    `window` and `watermark` are durations as in "1 minute". Windows are aligned to the epoch; a window holds its start
    and not its end. Times are ISO 8601, UTC, milliseconds. On a stream in append mode a row comes once, when the
    watermark (the latest time seen less `watermark`, rounded down to whole steps) has passed its window's end.
    """
    start, end = iso("window.start"), iso("window.end")
    # Windows begin and end, and are closed, at whole steps only. A watermark that moved in between would emit nothing,
    # but Spark runs one more batch whenever it moves.
    length, delay = duration_seconds("window_duration", window), duration_seconds("watermark_duration", watermark)
    seconds = F.unix_seconds("time")
    step = F.timestamp_seconds(seconds - seconds % math.gcd(length, delay))
    ordered = readings.withColumns({"step": step, "recency": recency(length)})
    windows = ordered.withWatermark("step", watermark).groupBy(F.window("step", window), "entity").agg(*aggregations())
    computed = [name for name in windows.columns if name not in ("window", "entity")]
    return windows.select(
        F.concat(start, F.lit("-"), end).alias("window"),
        start.alias("window_start"),
        end.alias("window_end"),
        "entity",
        *computed,
    )


def to_kafka(windows: DataFrame) -> DataFrame:
    """Rows of aggregate() as records: `key` (the vehicle) and `value` (JSON), both strings; without the markers'."""
    vehicles = windows.where(F.col("entity") >= 1)
    return vehicles.select(F.col("entity").cast("string").alias("key"), F.to_json(F.struct("*")).alias("value"))


# --- from here on: wiring ---------------------------------------------------------------------------------------------

WAIT_FOR_KAFKA = 120  # seconds to wait for the broker at the start
QUERY = "sensor-data"
RECORDS_AT_A_TIME = 20_000  # of rejected ones, in memory
EARLIEST_OFFSET = -2  # as Spark's Kafka source names it
_stopped = False
failures: list[Exception] = []  # of the sink, in Spark's thread


def setting(name: str) -> str:
    """The constant `name`, or the environment variable of the same name in capitals where it is set."""
    return os.environ.get(name.upper(), str(globals()[name]))


def start_query(spark: SparkSession, sink: ExactlyOnceSink, folder: Path) -> StreamingQuery:
    topics = [setting("kafka_input_topic"), setting("kafka_control_topic")]
    records = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", setting("kafka_bootstrap_servers"))
        .option("subscribe", ",".join(topics))
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", whole_number("max_offsets_per_trigger", setting("max_offsets_per_trigger")))
        .option("kafka.max.partition.fetch.bytes", 16 * 1024 * 1024)
        .option("kafka.max.poll.records", 10_000)  # of those fetched: Spark asks a few things around every poll
        .load()
    )
    parsed = parse(records, setting("kafka_control_topic"))
    windows = aggregate(readings(parsed), setting("window_duration"), setting("watermark_duration"))

    def write(windows: DataFrame, batch_id: int) -> None:
        try:
            if not sink.has(batch_id):
                write_batch(spark, sink, folder, windows, batch_id)
        except Exception as error:
            failures.append(error)  # Spark reports it as a text only, with all it passed through
            raise

    return (
        windows.writeStream.queryName(QUERY)
        .outputMode("append")
        .trigger(processingTime=setting("trigger_interval"))
        .option("checkpointLocation", str(folder))
        .foreachBatch(write)
        .start()
    )


def write_batch(spark: SparkSession, sink: ExactlyOnceSink, folder: Path, windows: DataFrame, batch_id: int) -> None:
    """Commit the windows that a batch emits, what it rejected, and its token. `spark` is the query's session."""
    watermark, offsets = spark_checkpoint.batch(folder, batch_id)
    emitted = to_kafka(windows).collect()  # and now the batch has run
    number_of_rejects = rejected_in_this_batch(spark)

    def records() -> Iterator[tuple[str, str, str]]:
        for key, value in emitted:
            yield setting("kafka_output_topic"), key, value
        if number_of_rejects:
            starts = sink.last_token["offsets"] if sink.last_token else {}
            for key, value in read_rejected(spark, starts, offsets).toLocalIterator():
                yield setting("kafka_rejected_topic"), key, value

    token = {
        "query_id": spark_checkpoint.query_id(folder),
        "batch_id": batch_id,
        "window_seconds": duration_seconds("window_duration", setting("window_duration")),
        "watermark_seconds": duration_seconds("watermark_duration", setting("watermark_duration")),
        "watermark": watermark,
        "offsets": offsets,
        "windows": len(emitted),
        "rejected": number_of_rejects,
    }
    sink.commit(records(), token)


def rejected_in_this_batch(spark: SparkSession) -> int:
    """How many records parse() rejected in the batch that runs now: its measure, before Spark publishes it."""
    query = next(query for query in spark.streams.active if query.name == QUERY)
    measures = query._jsq.streamingQuery().lastExecution().observedMetrics()
    return int(measures.apply("books").getLong(0))


def read_rejected(spark: SparkSession, starts: dict[str, Any], ends: dict[str, Any]) -> DataFrame:
    """The rejected records of the raw topic between two offsets (topic -> partition -> offset), read once more.

    Only the state of windows leaves Spark's aggregation, so records that are in none are fetched again: they are few.
    """
    topic = setting("kafka_input_topic")
    start = {partition: starts.get(topic, {}).get(partition, EARLIEST_OFFSET) for partition in ends[topic]}
    records = (
        spark.read.format("kafka")
        .option("kafka.bootstrap.servers", setting("kafka_bootstrap_servers"))
        .option("subscribe", topic)
        .option("startingOffsets", json.dumps({topic: start}))
        .option("endingOffsets", json.dumps({topic: ends[topic]}))
        .option("maxRecordsPerPartition", RECORDS_AT_A_TIME)
        .load()
    )
    return rejected(parse(records, setting("kafka_control_topic")))


def close_last_windows(
    sink: ExactlyOnceSink, folder: Path, quiet: silence.Silence, last: silence.Marker | None
) -> silence.Marker | None:
    """After a silence, send the marker that closes the windows still open; returns the newest marker there is."""
    topic, token = setting("kafka_input_topic"), sink.last_token
    read = token["offsets"][topic] if token else {}
    if not token or not quiet.lasts(read, time.monotonic()):
        return last
    marker = silence.marker(token, read, spark_checkpoint.last_done(folder)[1], last, int(time.time() * 1000))
    servers = setting("kafka_bootstrap_servers")
    if not marker or end_offsets(servers, topic) != read:  # closed already, or not a silence but a lag
        return last
    event_time = marker["watermark"] + token["watermark_seconds"] * 1000
    reading = {"time": moment(event_time), "entity": 0, "temp": 0, "humidity": 0}
    producer = KafkaProducer(bootstrap_servers=servers, allow_auto_create_topics=False)
    try:
        producer.send(setting("kafka_control_topic"), value=json.dumps(reading | marker).encode()).get(timeout=30)
    finally:
        producer.close(timeout=5)
    quiet.begin_again(time.monotonic())
    print(f"no reading came for a while: the windows up to {moment(marker['watermark'])} are closed", flush=True)
    return marker


def moment(millis: int) -> str:
    """Milliseconds since the epoch as ISO 8601, UTC, milliseconds."""
    return datetime.fromtimestamp(millis / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def report(query: StreamingQuery, last_batch: int, window_seconds: int, watermark_seconds: int) -> int:
    """Print a line for a new batch, write the progress file, return the number of the newest batch."""
    progress = query.lastProgress
    batch = last_batch
    state = {
        "written_at": moment(int(time.time() * 1000)),
        "pid": os.getpid(),
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
    duration_millis("trigger_interval", setting("trigger_interval"))
    folder = Path(setting("checkpoint_location"))
    folder.mkdir(parents=True, exist_ok=True)
    partitions = whole_number("shuffle_partitions", setting("shuffle_partitions"))
    spark = spark_session(setting("spark_master"), setting("spark_driver_memory"), partitions)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    check_settings(folder)
    servers = setting("kafka_bootstrap_servers")
    print(f"connecting to Kafka at {servers}, for up to {WAIT_FOR_KAFKA} s", flush=True)
    raw, control = setting("kafka_input_topic"), setting("kafka_control_topic")
    outputs = setting("kafka_output_topic"), setting("kafka_rejected_topic")
    sink = ExactlyOnceSink(servers, (raw, control, *outputs), setting("kafka_progress_topic"), WAIT_FOR_KAFKA)
    ends = {topic: end_offsets(servers, topic) for topic in (raw, control)}
    check_fit(sink.last_token, spark_checkpoint.query_id(folder), spark_checkpoint.last_done(folder)[0], ends)
    newest = last_record(servers, TopicPartition(control, 0))
    marker = json.loads(newest) if newest else None
    quiet = silence.Silence(window_seconds + watermark_seconds + CLOCK_AHEAD_SECONDS)
    query = start_query(spark, sink, folder)
    print(
        f"{raw} -> {outputs[0]}: windows of {setting('window_duration')},"
        f" watermark {setting('watermark_duration')}, checkpoint in {folder}",
        flush=True,
    )
    batch = -1
    while not _stopped and not query.awaitTermination(1):  # raises what ended the query
        batch = report(query, batch, window_seconds, watermark_seconds)
        marker = close_last_windows(sink, folder, quiet, marker)
    query.stop()
    spark.stop()
    print("stopped; the next start goes on from here", flush=True)


def check_settings(folder: Path) -> None:
    """Raises BadSetting when the windows that are open in the checkpoint were begun with another shape."""
    window = duration_seconds("window_duration", setting("window_duration"))
    settings = {
        "window_duration": window,
        "aggregations": [str(column) for column in (*aggregations(), recency(window))],
    }
    if changed := spark_checkpoint.changed_setting(folder, settings):
        name, begun = changed
        now = settings[name]
        if isinstance(now, list):
            begun, now = (
                ", ".join(c for c in these if c not in those) or "less" for these, those in ((begun, now), (now, begun))
            )
        raise BadSetting(
            f"{name} has changed from {begun} to {now}, and the windows still open were begun with the old one:"
            " change it back, or remove all data and start anew (`make reset`, or `docker compose down --volumes`)."
        )


def main() -> None:
    try:
        run()
    except (BadSetting, DoesNotFit) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KafkaError as error:
        servers = setting("kafka_bootstrap_servers")
        sys.exit(f"The windows job can't work with Kafka at {servers}: {error}. Check that Kafka runs there.")
    except (ConnectionError, PySparkException, Py4JError) as error:
        sys.exit(f"The windows job {why_spark_ended(error, failures, setting('spark_driver_memory'))}")
    except OSError as error:
        sys.exit(f"The windows job can't write its state: {error}. Check the folder and the space on its disk.")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
