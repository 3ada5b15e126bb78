"""Many records at a time into kafka-python's own batches: a multiple of the rate of KafkaProducer.send()."""

from kafka_batches.accumulator import Batch, abort, append
from kafka_batches.partitioner import partition_for

__all__ = ["Batch", "abort", "append", "partition_for"]
