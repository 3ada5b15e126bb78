"""The streaming query: from the raw and the control topic through the windows into the sink, batch by batch."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery

from windows_job import checkpoint
from windows_job.aggregation import aggregate, to_kafka
from windows_job.late import late
from windows_job.reading import Form
from windows_job.settings import Settings
from windows_job.sink import ExactlyOnceSink
from windows_job.spark_internals import observed
from windows_job.validation import BATCH, fields, parse, rejected
from windows_job.watchdog import Watchdog

QUERY_NAME = "sensor-data"
RECORDS_PER_PARTITION = 20_000  # late records in memory at a time
MAX_PART = 16 * 1024 * 1024  # bytes of rejected records in memory at a time
RECORD_OVERHEAD = 1024  # bytes that a rejected record takes besides its value
EARLIEST_OFFSET = -2  # as Spark's Kafka source names it
FETCH_BYTES = 16 * 1024 * 1024
# Spark keeps the last fetch of every read for some time, and a batch with large records is read in many parts.
PART_FETCH_BYTES = 1024 * 1024
POLL_RECORDS = 10_000  # of those fetched: Spark has some work around every poll

logger = logging.getLogger(__name__)

Offsets = Mapping[str, tuple[int, int]]  # by partition: where to begin, and where to end (exclusive)


class WindowsQuery:
    """The query of one job. Errors of its sink, which is called in a thread of Spark's, are added to `errors`."""

    def __init__(
        self, spark: SparkSession, settings: Settings, form: Form, sink: ExactlyOnceSink, errors: list[Exception]
    ) -> None:
        self._spark = spark
        self._settings = settings
        self._form = form
        self._sink = sink
        self._errors = errors
        self.last_on_time = -1  # the newest batch, since the start, with a reading that wasn't late

    def start(self, aggregations: Sequence[Column], folder: checkpoint.Folder, watchdog: Watchdog) -> StreamingQuery:
        settings = self._settings
        records = (
            self._spark.readStream.format("kafka")
            .options(**kafka_options(settings, FETCH_BYTES))
            .option("subscribe", f"{settings.kafka_raw_topic},{settings.kafka_control_topic}")
            .option("startingOffsets", "earliest")
            .option("failOnDataLoss", settings.fail_on_data_loss)
            .option("maxOffsetsPerTrigger", settings.max_offsets_per_trigger)
            .load()
        )
        parsed = fields(parse(records, self._form, settings.kafka_control_topic), self._form)
        windows = aggregate(parsed, aggregations, settings.window_duration, settings.watermark_duration)
        return (
            windows.writeStream.queryName(QUERY_NAME)
            .outputMode("append")
            .trigger(processingTime=settings.trigger_interval)
            .option("checkpointLocation", folder.url)
            .foreachBatch(partial(self._write, folder, watchdog))
            .start()
        )

    def _write(self, folder: checkpoint.Folder, watchdog: Watchdog, windows: DataFrame, batch_id: int) -> None:
        watchdog.batch_begins()
        try:
            if self._sink.is_committed(batch_id):
                windows.count()  # Spark needs the state and the watermark of every batch; nothing is written
            else:
                self._commit(folder, windows, batch_id)
            watchdog.batch_ends()
        except Exception as error:
            self._errors.append(error)  # Spark passes on only a text, with a long stack trace
            raise

    def _commit(self, folder: checkpoint.Folder, windows: DataFrame, batch_id: int) -> None:
        """Commit the windows that a batch emits, what it rejected, its late readings, and its token."""
        settings, last = self._settings, self._sink.last_token or {}
        watermark, offsets = checkpoint.batch(folder, batch_id)
        emitted = to_kafka(windows).collect()  # this runs the batch
        seen = observed(self._spark, QUERY_NAME, BATCH)
        length = settings.window_seconds * 1000
        earliest, newest = ((seen.get(name) or 0) // 1000 for name in ("earliest", "newest"))
        has_late = bool(seen["readings"]) and earliest // length * length + length <= watermark
        token = {
            "query_id": checkpoint.query_id(folder),
            "batch_id": batch_id,
            "window_seconds": settings.window_seconds,
            "watermark_seconds": settings.watermark_seconds,
            "watermark": watermark,
            "offsets": offsets,
            "newest": max(newest, last.get("newest", 0)),
        }
        counts = {"records": seen["readings"], "windows": len(emitted), "rejected": 0, "late": 0}

        def records() -> Iterator[tuple[str, str, str]]:
            for key, value in emitted:
                yield settings.kafka_aggregated_topic, key, value
            starts = last.get("offsets", {}).get(settings.kafka_raw_topic, {})
            ends = offsets[settings.kafka_raw_topic]
            whole = {partition: (starts.get(partition, EARLIEST_OFFSET), end) for partition, end in ends.items()}
            if seen["rejected"]:
                for part in self._parts(whole, seen["rejected_bytes"] + seen["rejected"] * RECORD_OVERHEAD):
                    for key, value in rejected(self._read(part), self._form).collect():
                        counts["rejected"] += 1
                        yield settings.kafka_rejected_topic, key, value
            if has_late:
                found = late(self._read(whole), self._form, settings.window_duration, watermark)
                for key, value in found.toLocalIterator():
                    counts["late"] += 1
                    yield settings.kafka_late_topic, key, value
            # Complete only now: the sink sends the token behind the records.
            counts["records"] += counts["rejected"]
            totals = {name: number + last.get("totals", {}).get(name, 0) for name, number in counts.items()}
            token.update(**counts, totals=totals)

        self._sink.commit(records(), token)
        if counts["records"] - counts["rejected"] - counts["late"]:
            self.last_on_time = batch_id
        if foreign := seen["rejected"] - counts["rejected"]:
            topic = settings.kafka_control_topic
            logger.warning("%d records of %s are no markers of the windows job: they are ignored", foreign, topic)

    def _parts(self, whole: Offsets, size: int) -> Iterator[Offsets]:
        """Divide the offsets of a batch so that no part has more than MAX_PART bytes of rejected records.

        `size` is that of all rejected records of the batch.
        """
        if size <= MAX_PART:
            yield whole
            return
        invalid = self._read(whole).where(~F.col("valid"))
        length = F.coalesce("size", F.lit(0)) + RECORD_OVERHEAD
        found = invalid.select("partition", "offset", length).orderBy("partition", "offset")
        for partition, start, end in parts([tuple(row) for row in found.collect()], whole, MAX_PART):
            yield {partition: (start, end)}

    def _read(self, offsets: Offsets) -> DataFrame:
        """The records of the raw topic between these offsets once more, as parse() gives them.

        Only the state of windows leaves Spark's aggregation, so records that are in none are fetched again: they are
        few. But they may be large.
        """
        topic = self._settings.kafka_raw_topic
        records = (
            self._spark.read.format("kafka")
            .options(**kafka_options(self._settings, PART_FETCH_BYTES))
            .option("assign", json.dumps({topic: [int(partition) for partition in offsets]}))
            .option("startingOffsets", json.dumps({topic: {p: start for p, (start, _) in offsets.items()}}))
            .option("endingOffsets", json.dumps({topic: {p: end for p, (_, end) in offsets.items()}}))
            .option("failOnDataLoss", self._settings.fail_on_data_loss)
            .option("maxRecordsPerPartition", RECORDS_PER_PARTITION)
            .load()
        )
        return parse(records, self._form, self._settings.kafka_control_topic)


def parts(records: Sequence[tuple[int, int, int]], whole: Offsets, limit: int) -> Iterator[tuple[str, int, int]]:
    """Divide the ranges of `whole` into (partition, start, end) that hold at most `limit` bytes of `records` each.

    `records` are (partition, offset, bytes) in this order. A record of more bytes has a part of its own.
    """
    for partition, (first, last) in whole.items():
        start, size = first, 0
        for number, offset, length in records:
            if str(number) != partition:
                continue
            if size and size + length > limit:
                yield partition, start, offset
                start, size = offset, 0
            size += length
        yield partition, start, last


def kafka_options(settings: Settings, fetch_bytes: int) -> dict[str, str]:
    """The options of Spark's Kafka source for whatever is read."""
    return {
        **settings.kafka.spark_options(),
        "groupIdPrefix": settings.kafka_group_id,
        "kafka.isolation.level": "read_committed",  # an aborted record was never sent
        "kafka.max.partition.fetch.bytes": str(fetch_bytes),
        "kafka.max.poll.records": str(POLL_RECORDS),
    }
