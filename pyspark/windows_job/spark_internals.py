"""The only module that reaches into PySpark. Written against PySpark 4.2.0; tests/integration would see a change."""

import json
from subprocess import Popen
from typing import Any

from pyspark.core.context import SparkContext
from pyspark.sql import SparkSession


def observed(spark: SparkSession, query_name: str, observation: str) -> dict[str, Any]:
    """The metrics of an observation by name, in the batch that the query runs now.

    Public interfaces (StreamingQueryProgress.observedMetrics) have them only when the batch is over, and the sink needs
    them before.
    """
    query = next(query for query in spark.streams.active if query.name == query_name)
    metrics = query._jsq.streamingQuery().lastExecution().observedMetrics()
    return dict(json.loads(metrics.apply(observation).json()))


def spark_process() -> "Popen[Any] | None":
    """The process of Spark's driver; None where spark-submit started this script inside it."""
    return getattr(SparkContext._gateway, "proc", None)


def kill_spark() -> None:
    """Kill Spark's process, which may be stopped, if this script has started one."""
    process = spark_process()
    if process:
        process.kill()
