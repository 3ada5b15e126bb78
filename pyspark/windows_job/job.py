"""The job around the query: it checks what belongs together, reports its state and closes the last windows."""

import json
import logging
import signal
import threading
import time
from functools import partial
from typing import Any

from kafka import KafkaProducer
from pyspark.sql.streaming.query import StreamingQuery
from service import contract, state

from windows_job import checkpoint, consistency, idle
from windows_job.output import Aggregations, check_contract, check_open_windows, output_schema
from windows_job.query import WindowsQuery
from windows_job.reading import Form
from windows_job.settings import Settings
from windows_job.sink import ExactlyOnceSink
from windows_job.spark import spark_session
from windows_job.spark_internals import kill_spark
from windows_job.topics import offsets
from windows_job.watchdog import Watchdog, end_at_once

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
    sink = connect(settings)
    check_open_windows(settings.checkpoint, settings, aggregations(), sink.last_token)
    watchdog = Watchdog(partial(end_at_once, kill_spark))
    windows = WindowsQuery(spark, settings, form, sink, sink_errors)
    closing = LastWindows(settings, form, sink, windows)
    query = windows.start(aggregations(), watchdog)
    logger.info(
        "%s -> %s: windows of %s, watermark %s, checkpoint in %s",
        settings.kafka_raw_topic,
        settings.kafka_aggregated_topic,
        settings.window_duration,
        settings.watermark_duration,
        settings.checkpoint,
    )
    watchdog.start()
    batch = report(query, -1, settings, sink)
    while not stop.is_set() and not query.awaitTermination(1):  # raises what ended the query
        batch = report(query, batch, settings, sink)
        closing.close_when_idle()
        watchdog.report()
    query.stop()
    sink.close()
    spark.stop()
    logger.info("stopped; the next start resumes from here")


def connect(settings: Settings) -> ExactlyOnceSink:
    """The sink. Raises KafkaError, and CheckpointMismatch where Kafka's log and the checkpoint don't match."""
    servers = settings.kafka_bootstrap_servers
    logger.info("connecting to Kafka at %s, for up to %d s", servers, WAIT_FOR_KAFKA)
    inputs = settings.kafka_raw_topic, settings.kafka_control_topic
    outputs = settings.kafka_aggregated_topic, settings.kafka_rejected_topic, settings.kafka_late_topic
    sink = ExactlyOnceSink(servers, (*inputs, *outputs), settings.kafka_progress_topic, WAIT_FOR_KAFKA)
    found = {topic: offsets(servers, topic) for topic in inputs}
    firsts, ends = ({topic: both[side] for topic, both in found.items()} for side in (0, 1))
    folder = settings.checkpoint
    checkpoint.check_newest_batch(folder)
    query, done = checkpoint.query_id(folder), checkpoint.last_committed(folder)[0]
    consistency.check(sink.last_token, query, done, ends)
    if settings.fail_on_data_loss:
        consistency.check_unread(sink.last_token, firsts)
    return sink


def report(query: StreamingQuery, last_batch: int, settings: Settings, sink: ExactlyOnceSink) -> int:
    """Log a new batch, write the state file, return the number of the newest batch."""
    progress = query.lastProgress
    batch = last_batch
    now: dict[str, Any] = {
        "window_seconds": settings.window_seconds,
        "watermark_seconds": settings.watermark_seconds,
        "totals": sink.last_token["totals"] if sink.last_token else None,
    }
    if progress:
        batch, rows = progress["batchId"], progress["numInputRows"]
        watermark = (progress.get("eventTime") or {}).get("watermark")
        now |= {
            "batch": batch,
            "watermark": watermark,
            "next_watermark": state.iso_time(checkpoint.last_committed(settings.checkpoint)[1] / 1000),
            "offsets": json.loads(progress["sources"][0]["endOffset"]),
        }
        if batch != last_batch:
            logger.info("batch %d: %d records, watermark %s", batch, rows, watermark)
    state.write(settings.state_file, now)
    return batch


class LastWindows:
    """Closes the windows that are open while no reading on time comes, by a marker in the control topic."""

    def __init__(self, settings: Settings, form: Form, sink: ExactlyOnceSink, query: WindowsQuery) -> None:
        self._settings = settings
        self._form = form
        self._sink = sink
        self._query = query
        self._timer = idle.IdleTimer(settings.window_seconds + settings.watermark_seconds + form.seconds_ahead)
        self._ends: dict[str, int] | None = None  # of the raw topic when the idle period was noticed

    def close_when_idle(self) -> None:
        """Send a marker when no reading on time comes and a window is open. To be called about once a second."""
        settings, token = self._settings, self._sink.last_token
        if not token or not self._timer.is_idle(self._query.last_on_time, time.monotonic()):
            self._ends = None
            return
        window, delay = settings.window_seconds * 1000, settings.watermark_seconds * 1000
        reached = max(token["watermark"], checkpoint.last_committed(settings.checkpoint)[1])
        target = idle.watermark_to_reach(token["newest"], reached, window, delay, int(time.time() * 1000))
        if target is None or target <= reached:
            return
        servers = settings.kafka_bootstrap_servers
        if self._ends is None:
            self._ends = offsets(servers, settings.kafka_raw_topic)[1]
        read = token["offsets"].get(settings.kafka_raw_topic, {})
        if any(read.get(partition, 0) < end for partition, end in self._ends.items()):
            return  # what the job has not read yet may be on time
        marker = {"time": state.iso_time((target + delay) / 1000), **self._form.marker()}
        producer = KafkaProducer(bootstrap_servers=servers, allow_auto_create_topics=False)
        try:
            producer.send(settings.kafka_control_topic, value=json.dumps(marker).encode()).get(timeout=MARKER_TIMEOUT)
        finally:
            producer.close(timeout=5)
        self._timer.restart(time.monotonic())
        self._ends = None
        logger.info("no reading on time comes: windows up to %s are closed", state.iso_time(target / 1000))
