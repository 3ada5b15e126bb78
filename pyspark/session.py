"""Spark's process: how it is started, and what it ended of."""

import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from py4j.protocol import Py4JNetworkError
from pyspark.sql import SparkSession

from pyspark import SparkContext

# As good on a local disk as Spark's default one, which starts a process (readlink) 32 times a batch.
CHECKPOINT_FILES = "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
# With too little memory it ends, and soon: not after minutes in which it does little but collect garbage.
JAVA_OPTIONS = "-XX:+UseParallelGC -XX:+ExitOnOutOfMemoryError -XX:GCTimeLimit=90 -XX:GCHeapFreeLimit=5"
OUT_OF_MEMORY = 3  # what -XX:+ExitOnOutOfMemoryError ends Spark's process with


def spark_session(master: str, memory: str, shuffle_partitions: int) -> SparkSession:
    """Start Spark with a heap of `memory` (as in "768m")."""
    log4j = Path(__file__).resolve().with_name("log4j2.properties").as_uri()
    return (
        SparkSession.builder.appName("sensor-data")
        .master(master)
        .config("spark.driver.memory", memory)
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.extraJavaOptions", f"{JAVA_OPTIONS} -Dlog4j2.configurationFile={log4j}")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.chunkBase64String.enabled", "false")  # no line breaks in base64
        .config("spark.sql.legacy.codingErrorAction", "true")  # what can't be decoded is no error but U+FFFD
        .config("spark.sql.variant.allowDuplicateKeys", "true")  # the last one counts, see _without_repeats()
        .config("spark.sql.streaming.checkpointFileManagerClass", CHECKPOINT_FILES)
        .config("spark.sql.shuffle.partitions", shuffle_partitions)
        .getOrCreate()
    )


def why_spark_ended(error: Exception, failures: Sequence[Exception], memory: str) -> str:
    """In words, after "The windows job". `error` is what the query ended with, `failures` those of its sink."""
    code = _exit_code([error, *failures])
    if code == OUT_OF_MEMORY or (code is None and "java.lang.OutOfMemoryError" in f"{error}{failures}"):
        return (
            f"ran out of memory: {memory} are too little for the windows that are open. Set"
            " SPARK_DRIVER_MEMORY (or spark_driver_memory) higher; the next start goes on from here."
        )
    if code is not None:
        return f"ended because Spark's process did, with {code}; the next start goes on from here."
    if failures:
        return f"could not write a batch ({type(failures[0]).__name__}: {failures[0]})."
    return f"ended: {first_line(error)}"


def _exit_code(errors: Sequence[Exception]) -> int | None:
    """Of Spark's process, where an error says that the connection to it is gone; else None."""
    process = getattr(SparkContext._gateway, "proc", None)  # none where spark-submit started this script
    if process and any(isinstance(error, (ConnectionError, Py4JNetworkError)) for error in errors):
        with suppress(subprocess.TimeoutExpired):
            return int(process.wait(timeout=10))
    return None


def first_line(error: Exception) -> str:
    """What an error says, without Java's stack trace; of an error in Java the innermost cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return causes[-1] if causes else lines[0] if lines else type(error).__name__
