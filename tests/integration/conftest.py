"""One Spark for all integration tests, which are skipped where there is no Java."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from repository import windows_job_script
from stream import Stream
from windows_job.spark import spark_session


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    if not shutil.which("java"):
        pytest.skip("Spark needs Java 17 or 21, and there is no java on the PATH")
    script = windows_job_script()
    started = spark_session(script.spark_master, script.spark_driver_memory, script.shuffle_partitions)
    yield started
    started.stop()


@pytest.fixture
def stream(spark: SparkSession, tmp_path: Path) -> Stream:
    return Stream(spark, tmp_path)
