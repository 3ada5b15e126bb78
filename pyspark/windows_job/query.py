"""The streaming query: from the raw and the control topic through the windows into the sink, batch by batch."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from windows_job import checkpoint
from windows_job.aggregation import aggregate, to_kafka
from windows_job.reading import Form
from windows_job.settings import Settings
from windows_job.sink import ExactlyOnceSink
from windows_job.spark_internals import observed_count
from windows_job.validation import REJECTED_COUNT, parse, readings, rejected

QUERY_NAME = "sensor-data"
RECORDS_PER_PARTITION = 20_000  # rejected records in memory at a time
EARLIEST_OFFSET = -2  # as Spark's Kafka source names it
FETCH_BYTES = 16 * 1024 * 1024
POLL_RECORDS = 10_000  # of those fetched: Spark has some work around every poll


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

    def start(self, aggregations: Sequence[Column]) -> StreamingQuery:
        settings = self._settings
        records = (
            self._spark.readStream.format("kafka")
            .option("kafka.bootstrap.servers", settings.kafka_bootstrap_servers)
            .option("subscribe", f"{settings.kafka_raw_topic},{settings.kafka_control_topic}")
            .option("startingOffsets", "earliest")
            .option("maxOffsetsPerTrigger", settings.max_offsets_per_trigger)
            .option("kafka.max.partition.fetch.bytes", FETCH_BYTES)
            .option("kafka.max.poll.records", POLL_RECORDS)
            .load()
        )
        valid = readings(parse(records, self._form, settings.kafka_control_topic), self._form)
        windows = aggregate(valid, aggregations, settings.window_duration, settings.watermark_duration)
        return (
            windows.writeStream.queryName(QUERY_NAME)
            .outputMode("append")
            .trigger(processingTime=settings.trigger_interval)
            .option("checkpointLocation", str(settings.checkpoint))
            .foreachBatch(self._write)
            .start()
        )

    def _write(self, windows: DataFrame, batch_id: int) -> None:
        try:
            if not self._sink.is_committed(batch_id):
                self._commit(windows, batch_id)
        except Exception as error:
            self._errors.append(error)  # Spark passes on only a text, with a long stack trace
            raise

    def _commit(self, windows: DataFrame, batch_id: int) -> None:
        """Commit the windows that a batch emits, what it rejected, and its token."""
        settings = self._settings
        watermark, offsets = checkpoint.batch(settings.checkpoint, batch_id)
        emitted = to_kafka(windows).collect()  # this runs the batch
        rejected_count = observed_count(self._spark, QUERY_NAME, REJECTED_COUNT)

        def records() -> Iterator[tuple[str, str, str]]:
            for key, value in emitted:
                yield settings.kafka_aggregated_topic, key, value
            if rejected_count:
                starts = self._sink.last_token["offsets"] if self._sink.last_token else {}
                for key, value in self._read_rejected(starts, offsets).toLocalIterator():
                    yield settings.kafka_rejected_topic, key, value

        token = {
            "query_id": checkpoint.query_id(settings.checkpoint),
            "batch_id": batch_id,
            "window_seconds": settings.window_seconds,
            "watermark_seconds": settings.watermark_seconds,
            "watermark": watermark,
            "offsets": offsets,
            "windows": len(emitted),
            "rejected": rejected_count,
        }
        self._sink.commit(records(), token)

    def _read_rejected(self, starts: dict[str, Any], ends: dict[str, Any]) -> DataFrame:
        """The rejected records of the raw topic between two offsets (topic -> partition -> offset), read once more.

        Only the state of windows leaves Spark's aggregation, so records that are in none are fetched again: they are
        few.
        """
        topic = self._settings.kafka_raw_topic
        start = {partition: starts.get(topic, {}).get(partition, EARLIEST_OFFSET) for partition in ends[topic]}
        records = (
            self._spark.read.format("kafka")
            .option("kafka.bootstrap.servers", self._settings.kafka_bootstrap_servers)
            .option("subscribe", topic)
            .option("startingOffsets", json.dumps({topic: start}))
            .option("endingOffsets", json.dumps({topic: ends[topic]}))
            .option("maxRecordsPerPartition", RECORDS_PER_PARTITION)
            .load()
        )
        return rejected(parse(records, self._form, self._settings.kafka_control_topic))
