"""The only module that reaches into PySpark. Written against PySpark 4.2.0; tests/integration would see a change."""

from subprocess import Popen
from typing import Any

from pyspark.core.context import SparkContext
from pyspark.sql import SparkSession


def observed_count(spark: SparkSession, query_name: str, observation: str) -> int:
    """The first metric of an observation, in the batch that the query runs now.

    Public interfaces (StreamingQueryProgress.observedMetrics) have it only when the batch is over, and the sink needs
    it before.
    """
    query = next(query for query in spark.streams.active if query.name == query_name)
    metrics = query._jsq.streamingQuery().lastExecution().observedMetrics()
    return int(metrics.apply(observation).getLong(0))


def spark_process() -> "Popen[Any] | None":
    """The process of Spark's driver; None where spark-submit started this script inside it."""
    return getattr(SparkContext._gateway, "proc", None)
