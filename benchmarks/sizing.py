"""How large each part must be for a fleet, computed from the results of the cases scaling and ledger. Pure."""

from dataclasses import dataclass
from math import ceil
from typing import Any

# The parts of the case scaling. In each, the first row is what the others are compared with.
JOB, GENERATOR = "windows job", "generator"
JOB_ON_CLUSTER, GENERATOR_ON_CLUSTER = "windows job, three brokers", "generator, three brokers"
DRUID = "Druid"
COPIES = "three copies, min.insync.replicas=2"

FLEETS = (200, 2_000, 20_000, 200_000, 2_000_000, 10_000_000)  # vehicles
INTERVAL = 5  # seconds from one reading of a vehicle to the next
WINDOW, WATERMARK = 60, 180  # seconds, the defaults of pyspark.py
HEADROOM = 2  # after an outage, the backlog is read in the time that it took
COPIES_OF_A_RECORD = 3
READERS = 2  # of the readings: Spark and Druid
WINDOW_BYTES = 400  # of heap for each window: docs/performance.md
HEAP = 768 * 2**20  # bytes, the default, for all but the windows
SEGMENT_ROWS = 5_000_000  # Druid's default
WEEK, DAY = 7 * 86_400, 86_400  # seconds

Row = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """What one reading or window costs; CPU in seconds per million."""

    stored_bytes: float  # of a reading in Kafka's log, one copy, compressed
    brokers: float  # CPU of all brokers for a reading: three copies, and each reader
    job: float  # CPU of the windows job for a reading
    driver: float  # CPU of the driver's Python for a window, which is in one thread
    task: float  # readings per second of one Druid task
    segment_bytes: float  # of a reading in Druid's segments
    ledger: float  # CPU of the ledger for a reading, which is in one process


@dataclass(frozen=True)
class Size:
    """What a fleet needs. Bytes are bytes, and rates are per second."""

    vehicles: int
    readings: float
    bytes_in: float
    partitions: int
    broker_cores: float
    disk: float
    partition_bytes: float  # that a partition holds of a week
    open_windows: int
    spark_cores: int
    heap: float
    driver_cores: float
    tasks: int  # that read the readings
    segment_bytes: float  # of the readings of a day
    segments: int  # of the readings of a day, at least
    ledger_cores: float


def measured(results: dict[str, Any]) -> Measured:
    """What the cases scaling and ledger have measured."""
    rows = results["scaling"]["rows"]

    def base(part: str) -> Row:
        return next(row for row in rows if row["part"] == part)

    def copies(part: str) -> Row:
        return next(row for row in rows if row["part"] == part and row["contender"] == COPIES)

    return Measured(
        stored_bytes=base(JOB)["bytes per reading"],
        brokers=copies(GENERATOR_ON_CLUSTER)["brokers' CPU s/M"] + READERS * copies(JOB_ON_CLUSTER)["brokers' CPU s/M"],
        job=base(JOB)["CPU s/M"],
        driver=base(JOB)["driver's CPU s per million windows"],
        task=base(DRUID)["records/s"],
        segment_bytes=base(DRUID)["bytes per reading"],
        ledger=max(results["ledger"]["rows"], key=lambda row: row["readings"])["CPU s/M"],
    )


def size(vehicles: int, cost: Measured) -> Size:
    """What a fleet needs of each part."""
    readings = vehicles / INTERVAL
    spark_cores = ceil(HEADROOM * readings * cost.job / 1e6)
    tasks = ceil(HEADROOM * readings / cost.task)
    needed = max(spark_cores, tasks, 2)
    partitions = needed if needed <= 2 else ceil(needed / 3) * 3
    open_windows = vehicles * ceil((WINDOW + WATERMARK) / WINDOW)
    week = readings * WEEK * cost.stored_bytes
    return Size(
        vehicles=vehicles,
        readings=readings,
        bytes_in=readings * cost.stored_bytes,
        partitions=partitions,
        broker_cores=HEADROOM * readings * cost.brokers / 1e6,
        disk=week * COPIES_OF_A_RECORD,
        partition_bytes=week / partitions,
        open_windows=open_windows,
        spark_cores=spark_cores,
        # A window of each vehicle is emitted while its next ones are open.
        heap=HEAP + (open_windows + vehicles) * WINDOW_BYTES,
        driver_cores=vehicles / WINDOW * cost.driver / 1e6,
        tasks=tasks,
        segment_bytes=readings * DAY * cost.segment_bytes,
        segments=ceil(readings * DAY / SEGMENT_ROWS),
        ledger_cores=readings * cost.ledger / 1e6,
    )
