"""One Spark for all integration tests."""

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from records import job, session


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    started = session.spark_session(job.spark_master, job.spark_driver_memory, job.shuffle_partitions)
    yield started
    started.stop()
