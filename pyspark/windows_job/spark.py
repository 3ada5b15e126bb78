"""Spark's process: how it is configured and started, and why it ended."""

import logging
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from py4j.protocol import Py4JJavaError, Py4JNetworkError
from pyspark.sql import SparkSession

from windows_job.settings import Settings
from windows_job.spark_internals import configured, spark_process

LOG4J = Path(__file__).resolve().parent.parent / "log4j2.properties"
# As safe on a local disk as Spark's default, which starts a process (readlink) 32 times per batch.
CHECKPOINT_FILES = "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
# With too little memory Spark ends at once, not after minutes of garbage collection.
JAVA_OPTIONS = "-XX:+UseParallelGC -XX:+ExitOnOutOfMemoryError -XX:GCTimeLimit=90 -XX:GCHeapFreeLimit=5"
# By default, Java inlines nothing more into a method once it has 8,000 bytes in all, and the methods that Spark
# generates for every record have thousands of their own. Later versions of Java have no such limit and no option.
# And its optimizing compiler takes only what is really hot: it would compete with the first batches for the cores.
COMPILER = (
    "-XX:+IgnoreUnrecognizedVMOptions -XX:-ClipInlining -XX:Tier4InvocationThreshold=50000"
    " -XX:Tier4MinInvocationThreshold=6000 -XX:Tier4CompileThreshold=150000 -XX:Tier4BackEdgeThreshold=400000"
)
OUT_OF_MEMORY = 3  # the exit code of -XX:+ExitOnOutOfMemoryError

# What the content of the windows depends on: nothing else sets these.
RESULTS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.chunkBase64String.enabled": "false",  # no line breaks in base64
    "spark.sql.legacy.codingErrorAction": "true",  # bytes that can't be decoded become U+FFFD
    "spark.sql.variant.allowDuplicateKeys": "true",  # the last one counts, see without_repeats()
    # aggregate() has two watermarks. And a reading is late by the watermark of its own batch.
    "spark.sql.streaming.statefulOperator.allowMultiple": "false",
    # While no window is open, the state may get other columns; Spark would still look at rows that were removed.
    "spark.sql.streaming.stateStore.formatValidation.enabled": "false",
}

logger = logging.getLogger(__name__)


class SparkNotStarted(Exception):
    """Spark's master refuses the job or doesn't answer; the text says what to check."""


def configuration(settings: Settings, elsewhere: Mapping[str, str]) -> dict[str, str]:
    """What the job sets. What spark-submit, a cluster manager or spark-defaults.conf has set, `elsewhere`, wins."""
    defaults = {
        "spark.app.name": "sensor-data",
        "spark.master": settings.spark_master,
        "spark.driver.memory": settings.spark_driver_memory,
        "spark.driver.extraJavaOptions": f"{JAVA_OPTIONS} -Dlog4j2.configurationFile={LOG4J.as_uri()}",
        "spark.driver.defaultJavaOptions": COMPILER,  # which Spark adds to extraJavaOptions, whoever has set these
        "spark.executor.defaultJavaOptions": COMPILER,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        # Kafka's consumers, and what they have fetched, are kept for the next batch, which follows within seconds.
        "spark.kafka.consumer.cache.capacity": "8",
        "spark.kafka.consumer.fetchedData.cache.timeout": "5s",
        "spark.kafka.consumer.fetchedData.cache.evictorThreadRunInterval": "1s",
        "spark.sql.shuffle.partitions": str(settings.shuffle_partitions),
    }
    if elsewhere.get("spark.master", settings.spark_master).startswith("local"):
        # The driver serves this machine only, whose other users could connect to it: Spark makes the secret itself.
        address = "127.0.0.1"
        defaults |= {
            "spark.driver.host": address, "spark.driver.bindAddress": address, "spark.authenticate": "true"
        }  # fmt: skip
    if settings.checkpoint_url.startswith("file:"):
        defaults["spark.sql.streaming.checkpointFileManagerClass"] = CHECKPOINT_FILES
    return {name: value for name, value in defaults.items() if name not in elsewhere} | RESULTS


def spark_session(settings: Settings) -> SparkSession:
    """Start Spark. Raises SparkNotStarted and BadSetting."""
    elsewhere = configured(settings.spark_conf_dir)
    if settings.spark_conf_dir:
        os.environ["SPARK_CONF_DIR"] = settings.spark_conf_dir
    own = configuration(settings, elsewhere)
    if overridden := sorted(elsewhere.keys() & configuration(settings, {}).keys() - RESULTS.keys()):
        logger.info("Spark's own configuration, which wins over this job's, has %s", ", ".join(overridden))
    builder = SparkSession.builder
    for name, value in own.items():
        builder = builder.config(name, value)
    try:
        return builder.getOrCreate()
    except Py4JJavaError as error:
        master = elsewhere.get("spark.master", settings.spark_master)
        # After a minute without an answer from a master, Spark stops itself, and says only that it is stopped.
        silent = "stopped SparkContext" in str(error)
        reason = "it doesn't answer, or it has refused the job" if silent else first_line(error)
        raise SparkNotStarted(
            f"Spark can't start with the master {master}: {reason}. Check SPARK_MASTER (or spark_master, or"
            " spark.master in Spark's own configuration), and that the master runs there."
        ) from error


def why_spark_ended(error: Exception, sink_errors: Sequence[Exception]) -> str:
    """What to say after "The windows job". `error` ended the query, `sink_errors` were raised in its sink."""
    code = _exit_code([error, *sink_errors])
    if code == OUT_OF_MEMORY or (code is None and "java.lang.OutOfMemoryError" in f"{error}{sink_errors}"):
        return (
            "ran out of memory: Spark's heap is too small for the windows that are open. Set SPARK_DRIVER_MEMORY (or"
            " spark_driver_memory, or spark.driver.memory in Spark's own configuration) higher; the next start resumes"
            " from here."
        )
    if code is not None:
        return f"ended because Spark's process exited with {code}; the next start resumes from here."
    if sink_errors:
        return f"could not write a batch ({type(sink_errors[0]).__name__}: {first_line(sink_errors[0])})."
    return f"ended: {first_line(error)}"


def is_state_damaged(error: Exception) -> bool:
    """Whether Spark can't read the state in the checkpoint, which a restart doesn't cure."""
    return "CANNOT_LOAD_STATE_STORE" in str(error)


def _exit_code(errors: Sequence[Exception]) -> int | None:
    """The exit code of Spark's process where an error says that the connection to it is gone; else None."""
    process = spark_process()
    if process and any(isinstance(error, (ConnectionError, Py4JNetworkError)) for error in errors):
        with suppress(subprocess.TimeoutExpired):
            return int(process.wait(timeout=10))
    return None


def first_line(error: Exception) -> str:
    """The message of an error without Java's stack trace; of an error in Java the innermost cause."""
    lines = [line.strip().removeprefix(": ") for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].startswith("An error occurred while calling"):  # py4j's own words
        del lines[0]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return causes[-1] if causes else lines[0] if lines else type(error).__name__
