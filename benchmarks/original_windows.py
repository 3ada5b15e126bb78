"""The original project's query, rewritten: Spark's default settings, and its Kafka sink.

Arguments: bootstrap servers, topic, output topic, checkpoint folder, window duration, a file to create once it runs.
"""

import sys
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

servers, topic, output, checkpoint, window, ready = sys.argv[1:]

spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
spark.sparkContext.setLogLevel("ERROR")
spark.conf.set("spark.sql.session.timeZone", "UTC")
records = (
    spark.readStream.format("kafka")
    .option("kafka.bootstrap.servers", servers)
    .option("subscribe", topic)
    .option("startingOffsets", "earliest")
    .load()
)
reading = F.from_json(
    F.col("value").cast("string"), "time TIMESTAMP, entity INT, temp DOUBLE, humidity DOUBLE, seq BIGINT"
)
windows = (
    records.select(reading.alias("reading"))
    .select("reading.*")
    .withWatermark("time", "3 minutes")
    .groupBy(F.window("time", window), "entity")
    .agg(
        F.count("*").alias("count"),
        F.round(F.avg("temp"), 2).alias("avg_temp"),
        F.min("temp").alias("min_temp"),
        F.max("temp").alias("max_temp"),
        F.last("humidity").alias("last_humidity"),
    )
)
query = (
    windows.select(
        F.concat_ws("-", "window.start", "window.end").alias("window"),
        F.col("window.start").alias("window_start"),
        "entity",
        "count",
        "avg_temp",
        "min_temp",
        "max_temp",
        "last_humidity",
    )
    .select(F.col("entity").cast("string").alias("key"), F.to_json(F.struct("*")).alias("value"))
    .writeStream.format("kafka")
    .outputMode("append")
    .option("kafka.bootstrap.servers", servers)
    .option("topic", output)
    .option("checkpointLocation", checkpoint)
    .start()
)
Path(ready).touch()
query.awaitTermination()
