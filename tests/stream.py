"""The job's query on files in place of Kafka, batch by batch."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from records import KAFKA, RAW, windows
from windows_job.aggregation import to_kafka
from windows_job.query import QUERY_NAME
from windows_job.spark_internals import observed
from windows_job.validation import BATCH


class Stream:
    """The job's query on files in place of Kafka; it starts anew for each batch and emits all that the batch closes."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.spark = spark
        self.source, self.checkpoint = folder / "in", folder / "checkpoint"
        self.source.mkdir()
        self.rejects = 0  # of the last batch, as the job counts them
        self.state_rows = 0  # open windows after the last batch
        self.runs = 0  # of Spark's for it: a second one follows when the watermark has moved

    def batch(
        self,
        *values: str,
        topic: str = RAW,
        watermark: str = "3 minutes",
        now: str = "12:00:00",
        write: Callable[[DataFrame, int], None] | None = None,
    ) -> list[tuple[str, str, int]]:
        """The windows that these records of `now` close: start, vehicle, count. None where `write` is the sink."""
        kafka_time = f"2026-01-01T{now}Z"
        records = [
            {"topic": topic, "value": base64.b64encode(value.encode()).decode(), "timestamp": kafka_time}
            for value in values
        ]
        lines = "\n".join(json.dumps(record) for record in records)
        (self.source / f"{len(list(self.source.iterdir()))}").write_text(lines)
        stream = self.spark.readStream.schema(KAFKA).json(str(self.source))
        emitted: list[dict[str, Any]] = []
        self.rejects = self.runs = 0

        def collect(rows: DataFrame, _: int) -> None:
            self.runs += 1
            emitted.extend(json.loads(row.value) for row in to_kafka(rows).collect())
            self.rejects += observed(self.spark, QUERY_NAME, BATCH)["rejected"]

        query = (
            windows(stream, watermark)
            .writeStream.foreachBatch(write or collect)
            .queryName(QUERY_NAME)
            .option("checkpointLocation", str(self.checkpoint))
            .trigger(availableNow=True)
            .start()
        )
        assert query.awaitTermination(60)
        self.state_rows = query.lastProgress["stateOperators"][0]["numRowsTotal"]
        return sorted((window["window_start"][11:16], window["entity"], window["count"]) for window in emitted)
