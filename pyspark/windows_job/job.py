"""The job around the query: it checks what belongs together, reports its state and closes the last windows."""

import json
import logging
import signal
import threading
import time
from functools import partial
from typing import Any

from kafka import KafkaProducer
from kafka_client import await_access
from pyspark.sql.streaming.query import StreamingQuery
from service import contract, state

from windows_job import checkpoint, consistency, failure, idle
from windows_job.checkpoint import Folder
from windows_job.output import Aggregations, check_contract, check_open_windows, output_schema
from windows_job.query import WindowsQuery
from windows_job.reading import Form
from windows_job.settings import Settings
from windows_job.sink import ExactlyOnceSink
from windows_job.spark import spark_session
from windows_job.spark_internals import HadoopFolder, kill_spark
from windows_job.topics import offsets
from windows_job.watchdog import Watchdog, end_at_once

WAIT_FOR_KAFKA = 120  # seconds to wait for the broker at the start
MARKER_TIMEOUT = 30  # seconds until the broker must have acknowledged a marker

logger = logging.getLogger(__name__)


def run(settings: Settings, aggregations: Aggregations, sink_errors: list[Exception]) -> None:
    """Run the query until SIGTERM or SIGINT. Raises what ends it; errors of the sink are added to `sink_errors`."""
    spark = spark_session(settings)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    topics = contract.topics()
    form = Form.of(topics["raw"].schema)
    check_contract(output_schema(spark, form, aggregations()).names, topics["aggregated"].schema)
    folder = HadoopFolder(spark, settings.checkpoint_url)
    sink = connect(settings, folder)
    check_open_windows(folder, settings, aggregations(), sink.last_token)
    report_partitions(folder, int(str(spark.conf.get("spark.sql.shuffle.partitions"))))
    watchdog = Watchdog(partial(end_at_once, kill_spark))
    windows = WindowsQuery(spark, settings, form, sink, sink_errors)
    closing = LastWindows(settings, folder, form, sink, windows)
    query = windows.start(aggregations(), folder, watchdog)
    logger.info(
        "%s -> %s: windows of %s, watermark %s, checkpoint in %s",
        settings.kafka_raw_topic,
        settings.kafka_aggregated_topic,
        settings.window_duration,
        settings.watermark_duration,
        folder.url,
    )
    watchdog.start()
    batch = report(query, -1, settings, folder, sink)
    failure.remove(settings.state_file)
    while not stop.is_set() and not query.awaitTermination(1):  # raises what ended the query
        batch = report(query, batch, settings, folder, sink)
        closing.close_when_idle()
        watchdog.report()
    query.stop()
    sink.close()
    spark.stop()
    logger.info("stopped; the next start resumes from here")


def connect(settings: Settings, folder: Folder) -> ExactlyOnceSink:
    """The sink. Raises KafkaError, and CheckpointMismatch where Kafka's log and the checkpoint don't match."""
    kafka = settings.kafka
    logger.info("connecting to Kafka at %s, for up to %d s", kafka.servers, WAIT_FOR_KAFKA)
    await_access(kafka, WAIT_FOR_KAFKA)
    inputs = settings.kafka_raw_topic, settings.kafka_control_topic
    outputs = settings.kafka_aggregated_topic, settings.kafka_rejected_topic, settings.kafka_late_topic
    sink = ExactlyOnceSink(settings, (*inputs, *outputs), WAIT_FOR_KAFKA)
    found = {topic: offsets(kafka, topic) for topic in inputs}
    firsts, ends = ({topic: both[side] for topic, both in found.items()} for side in (0, 1))
    checkpoint.check_newest_batch(folder)
    query, done = checkpoint.query_id(folder), checkpoint.last_committed(folder)[0]
    consistency.check(sink.last_token, query, done, ends)
    if settings.fail_on_data_loss:
        consistency.check_unread(sink.last_token, firsts)
    return sink


def report_partitions(folder: Folder, configured: int) -> None:
    """Log that a number of shuffle partitions has no effect because the checkpoint has another one."""
    fixed = checkpoint.shuffle_partitions(folder)
    if fixed not in (None, configured):
        logger.warning(
            "The checkpoint in %s has %d shuffle partitions, which stay: SHUFFLE_PARTITIONS (or shuffle_partitions, or"
            " spark.sql.shuffle.partitions) is %d and applies to a new checkpoint only.",
            folder.url,
            fixed,
            configured,
        )


def report(query: StreamingQuery, last_batch: int, settings: Settings, folder: Folder, sink: ExactlyOnceSink) -> int:
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
            "next_watermark": state.iso_time(checkpoint.next_watermark(folder, batch) / 1000),
            "offsets": json.loads(progress["sources"][0]["endOffset"]),
        }
        if batch != last_batch:
            logger.info("batch %d: %d records, watermark %s", batch, rows, watermark)
    state.write(settings.state_file, now)
    return batch


class LastWindows:
    """Closes the windows that are open while no reading on time comes, by a marker in the control topic."""

    def __init__(
        self, settings: Settings, folder: Folder, form: Form, sink: ExactlyOnceSink, query: WindowsQuery
    ) -> None:
        self._settings = settings
        self._folder = folder
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
        if idle.newest_window_end(token["newest"], window) <= token["watermark"]:
            return
        reached = max(token["watermark"], checkpoint.last_committed(self._folder)[1])
        target = idle.watermark_to_reach(token["newest"], reached, window, delay, int(time.time() * 1000))
        if target is None or target <= reached:
            return
        kafka = settings.kafka
        if self._ends is None:
            self._ends = offsets(kafka, settings.kafka_raw_topic)[1]
        read = token["offsets"].get(settings.kafka_raw_topic, {})
        if any(read.get(partition, 0) < end for partition, end in self._ends.items()):
            return  # what the job has not read yet may be on time
        marker = {"time": state.iso_time((target + delay) / 1000), **self._form.marker()}
        producer = KafkaProducer(**kafka.options(), allow_auto_create_topics=False)
        try:
            producer.send(settings.kafka_control_topic, value=json.dumps(marker).encode()).get(timeout=MARKER_TIMEOUT)
        finally:
            producer.close(timeout=5)
        self._timer.restart(time.monotonic())
        self._ends = None
        logger.info("no reading on time comes: windows up to %s are closed", state.iso_time(target / 1000))
