"""The job around the query: it checks what belongs together, reports its state and closes the last windows."""

import json
import logging
import signal
import threading
import time
from typing import Any

from kafka import KafkaProducer, TopicPartition
from pyspark.sql.streaming.query import StreamingQuery
from service import contract, state

from windows_job import checkpoint, consistency, idle
from windows_job.output import Aggregations, check_contract, check_open_windows, output_schema
from windows_job.query import WindowsQuery
from windows_job.reading import Form
from windows_job.settings import Settings
from windows_job.sink import ExactlyOnceSink
from windows_job.spark import spark_session
from windows_job.topics import end_offsets, last_record

WAIT_FOR_KAFKA = 120  # seconds to wait for the broker at the start
MARKER_TIMEOUT = 30  # seconds until the broker must have acknowledged a marker

logger = logging.getLogger(__name__)


def run(settings: Settings, aggregations: Aggregations, sink_errors: list[Exception]) -> None:
    """Run the query until SIGTERM or SIGINT. Raises what ends it; errors of the sink are added to `sink_errors`."""
    settings.checkpoint.mkdir(parents=True, exist_ok=True)
    spark = spark_session(settings.spark_master, settings.spark_driver_memory, settings.shuffle_partitions)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    topics = contract.topics()
    form = Form.of(topics["raw"].schema)
    check_contract(output_schema(spark, form, aggregations()).names, topics["aggregated"].schema)
    check_open_windows(settings.checkpoint, settings, aggregations())
    sink = connect(settings)
    closing = LastWindows(settings, form, sink)
    query = WindowsQuery(spark, settings, form, sink, sink_errors).start(aggregations())
    logger.info(
        "%s -> %s: windows of %s, watermark %s, checkpoint in %s",
        settings.kafka_raw_topic,
        settings.kafka_aggregated_topic,
        settings.window_duration,
        settings.watermark_duration,
        settings.checkpoint,
    )
    batch = report(query, -1, settings)
    while not stop.is_set() and not query.awaitTermination(1):  # raises what ended the query
        batch = report(query, batch, settings)
        closing.close_when_idle()
    query.stop()
    sink.close()
    spark.stop()
    logger.info("stopped; the next start resumes from here")


def connect(settings: Settings) -> ExactlyOnceSink:
    """The sink. Raises KafkaError, and CheckpointMismatch where Kafka's log and the checkpoint don't match."""
    servers = settings.kafka_bootstrap_servers
    logger.info("connecting to Kafka at %s, for up to %d s", servers, WAIT_FOR_KAFKA)
    inputs = settings.kafka_raw_topic, settings.kafka_control_topic
    outputs = settings.kafka_aggregated_topic, settings.kafka_rejected_topic
    sink = ExactlyOnceSink(servers, (*inputs, *outputs), settings.kafka_progress_topic, WAIT_FOR_KAFKA)
    ends = {topic: end_offsets(servers, topic) for topic in inputs}
    folder = settings.checkpoint
    consistency.check(sink.last_token, checkpoint.query_id(folder), checkpoint.last_committed(folder)[0], ends)
    return sink


def report(query: StreamingQuery, last_batch: int, settings: Settings) -> int:
    """Log a new batch, write the state file, return the number of the newest batch."""
    progress = query.lastProgress
    batch = last_batch
    now: dict[str, Any] = {
        "window_seconds": settings.window_seconds,
        "watermark_seconds": settings.watermark_seconds,
    }
    if progress:
        batch, rows = progress["batchId"], progress["numInputRows"]
        watermark = (progress.get("eventTime") or {}).get("watermark")
        now |= {"batch": batch, "watermark": watermark, "offsets": json.loads(progress["sources"][0]["endOffset"])}
        if batch != last_batch:
            logger.info("batch %d: %d records, watermark %s", batch, rows, watermark)
    state.write(settings.state_file, now)
    return batch


class LastWindows:
    """Closes the windows that are open while the raw topic is idle, by a marker in the control topic."""

    def __init__(self, settings: Settings, form: Form, sink: ExactlyOnceSink) -> None:
        self._settings = settings
        self._form = form
        self._sink = sink
        self._timer = idle.IdleTimer(settings.window_seconds + settings.watermark_seconds + form.seconds_ahead)
        newest = last_record(settings.kafka_bootstrap_servers, TopicPartition(settings.kafka_control_topic, 0))
        self._marker: idle.Marker | None = json.loads(newest) if newest else None

    def close_when_idle(self) -> None:
        """Send a marker when the topic is idle and a window is open. To be called about once a second."""
        settings, token = self._settings, self._sink.last_token
        read = token["offsets"][settings.kafka_raw_topic] if token else {}
        if not token or not self._timer.is_idle(read, time.monotonic()):
            return
        reached = checkpoint.last_committed(settings.checkpoint)[1]
        marker = idle.marker(token, read, reached, self._marker, int(time.time() * 1000))
        servers = settings.kafka_bootstrap_servers
        if not marker or end_offsets(servers, settings.kafka_raw_topic) != read:  # no open window, or the job lags
            return
        event_time = state.iso_time(marker["watermark"] / 1000 + token["watermark_seconds"])
        reading = {"time": event_time, **self._form.marker(), **marker}
        producer = KafkaProducer(bootstrap_servers=servers, allow_auto_create_topics=False)
        try:
            sent = producer.send(settings.kafka_control_topic, value=json.dumps(reading).encode())
            sent.get(timeout=MARKER_TIMEOUT)
        finally:
            producer.close(timeout=5)
        self._marker = marker
        self._timer.restart(time.monotonic())
        logger.info("the raw topic is idle: windows up to %s are closed", state.iso_time(marker["watermark"] / 1000))
