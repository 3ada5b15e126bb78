"""Aggregate sensor readings by event-time window and vehicle, from Kafka back into Kafka.

Runs as `python pyspark/pyspark.py` and with spark-submit, from any folder.
"""

import os
import sys

# Python puts the folder of this file first on the search path, where `import pyspark` would find this file instead of
# PySpark. The folder moves to the end, behind PySpark; there the package windows_job is still found. spark-submit knows
# no PYTHONPATH of ours, so common/ goes there as well.
_here = os.path.dirname(os.path.abspath(__file__))
_common = os.path.join(os.path.dirname(_here), "common")
sys.path[:] = [path for path in sys.path if os.path.abspath(path) != _here] + [_here, _common]

from pyspark.sql import Column  # noqa: E402
from pyspark.sql import functions as F  # noqa: E402
from service.settings import from_constants  # noqa: E402
from windows_job.aggregation import newest  # noqa: E402
from windows_job.main import main  # noqa: E402
from windows_job.settings import Settings  # noqa: E402

# Kafka configuration
kafka_bootstrap_servers = "kafka0:29092"
kafka_client_properties = ""  # a file with Kafka's client properties, such as security.protocol; empty: none
kafka_raw_topic = "sensor-data-raw"
kafka_aggregated_topic = "sensor-data-aggregated"
kafka_rejected_topic = "sensor-data-rejected"  # invalid records, with the reason
kafka_late_topic = "sensor-data-late"  # readings whose window was closed already
kafka_progress_topic = "sensor-data-progress"  # one token per batch, committed together with its windows
kafka_control_topic = "sensor-data-control"  # one marker per idle period, which closes the last windows
kafka_transactional_id = ""  # of the transactions with the windows; empty: the name of kafka_progress_topic-windows-job
kafka_group_id = "sensor-data-windows-job"  # the group with the offsets read; Spark's own groups begin with this name

# Spark configuration. What spark-submit, a cluster manager or spark-defaults.conf sets wins over it.
spark_master = "local[2]"
spark_driver_memory = "768m"
spark_conf_dir = ""  # a folder with spark-defaults.conf and, for a Hadoop cluster, core-site.xml and the like
trigger_interval = "500 milliseconds"  # how often Spark looks for new readings
max_offsets_per_trigger = 1_000_000  # the most readings of one batch; bounds its memory while a backlog is read
fail_on_data_loss = True  # False: go on although Kafka has removed records that the job has not read
shuffle_partitions = 2  # fixed by the checkpoint once there is one
checkpoint_location = "/var/lib/sensor-data/checkpoint"  # or a URL: hdfs://..., s3a://...
windows_job_state_file = "/var/lib/sensor-data/windows-job.json"  # written every second, for health checks

# How late a reading may come, and how long a window is. A window is emitted when a reading has come that is newer than
# its end by the watermark duration, or when no reading on time has come for both durations and 10 seconds. A reading
# that comes after that is late.
watermark_duration = "3 minutes"
window_duration = "1 minute"


def aggregations() -> list[Column]:
    """What is computed of the readings of one vehicle in one window. Add your own here, then run `make render`.

    The columns are time, the signals of schemas/sensor-data-raw.schema.json, seq, and recency, which is highest in the
    newest reading. A signal is null in a reading without it, which avg, min, max and newest leave out.
    """
    return [
        F.count("*").alias("count"),
        # Rounded twice: doubles added in another order differ in the last bit, which must not decide how an average
        # halfway between two hundredths is rounded. So a window is the same however often it is computed.
        F.round(F.round(F.avg("temp"), 6), 2).alias("avg_temp"),
        F.min("temp").alias("min_temp"),
        F.max("temp").alias("max_temp"),
        newest("humidity").alias("last_humidity"),
    ]


if __name__ == "__main__":
    main(aggregations, from_constants(Settings, globals()))
