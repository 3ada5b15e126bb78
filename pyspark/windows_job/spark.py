"""Spark's process: how it is started, and why it ended."""

import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from py4j.protocol import Py4JNetworkError
from pyspark.sql import SparkSession

from windows_job.spark_internals import spark_process

LOG4J = Path(__file__).resolve().parent.parent / "log4j2.properties"
# As safe on a local disk as Spark's default, which starts a process (readlink) 32 times per batch.
CHECKPOINT_FILES = "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
# With too little memory Spark ends at once, not after minutes of garbage collection.
JAVA_OPTIONS = "-XX:+UseParallelGC -XX:+ExitOnOutOfMemoryError -XX:GCTimeLimit=90 -XX:GCHeapFreeLimit=5"
OUT_OF_MEMORY = 3  # the exit code of -XX:+ExitOnOutOfMemoryError


def spark_session(master: str, memory: str, shuffle_partitions: int) -> SparkSession:
    """Start Spark with a heap of `memory`, as in "768m"."""
    return (
        SparkSession.builder.appName("sensor-data")
        .master(master)
        .config("spark.driver.memory", memory)
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.extraJavaOptions", f"{JAVA_OPTIONS} -Dlog4j2.configurationFile={LOG4J.as_uri()}")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.chunkBase64String.enabled", "false")  # no line breaks in base64
        .config("spark.sql.legacy.codingErrorAction", "true")  # bytes that can't be decoded become U+FFFD
        .config("spark.sql.variant.allowDuplicateKeys", "true")  # the last one counts, see _without_repeats()
        # Kafka's consumers, and what they have fetched, are kept for the next batch, which follows within seconds.
        .config("spark.kafka.consumer.cache.capacity", 8)
        .config("spark.kafka.consumer.fetchedData.cache.timeout", "5s")
        .config("spark.kafka.consumer.fetchedData.cache.evictorThreadRunInterval", "1s")
        # aggregate() has two watermarks. And a reading is late by the watermark of its own batch.
        .config("spark.sql.streaming.statefulOperator.allowMultiple", "false")
        # While no window is open, the state may get other columns; Spark would still look at rows that were removed.
        .config("spark.sql.streaming.stateStore.formatValidation.enabled", "false")
        .config("spark.sql.streaming.checkpointFileManagerClass", CHECKPOINT_FILES)
        .config("spark.sql.shuffle.partitions", shuffle_partitions)
        .getOrCreate()
    )


def why_spark_ended(error: Exception, sink_errors: Sequence[Exception], memory: str) -> str:
    """What to say after "The windows job". `error` ended the query, `sink_errors` were raised in its sink."""
    code = _exit_code([error, *sink_errors])
    if code == OUT_OF_MEMORY or (code is None and "java.lang.OutOfMemoryError" in f"{error}{sink_errors}"):
        return (
            f"ran out of memory: {memory} is too little for the windows that are open. Set"
            " SPARK_DRIVER_MEMORY (or spark_driver_memory) higher; the next start resumes from here."
        )
    if code is not None:
        return f"ended because Spark's process exited with {code}; the next start resumes from here."
    if sink_errors:
        return f"could not write a batch ({type(sink_errors[0]).__name__}: {sink_errors[0]})."
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
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return causes[-1] if causes else lines[0] if lines else type(error).__name__
