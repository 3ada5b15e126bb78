"""What the job asks of Kafka's topics besides the records that Spark reads."""

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError

IDLE_POLLS = 30  # of a second each


def last_record(bootstrap_servers: str, partition: TopicPartition) -> bytes | None:
    """The value of the newest committed record of a partition, None where there is none.

    Raises KafkaError when the broker can't be reached or gives no record for 30 seconds.
    """
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap_servers, isolation_level="read_committed", enable_auto_commit=False
    )
    try:
        consumer.assign([partition])
        first, end = consumer.beginning_offsets([partition])[partition], consumer.end_offsets([partition])[partition]
        # The last offsets belong to the markers of transactions, some of them perhaps aborted.
        tail = 16
        while True:
            start = max(first, end - tail)
            consumer.seek(partition, start)
            newest = _newest(consumer, partition, end)
            if newest is not None or start == first:
                return newest
            tail *= 8
    finally:
        consumer.close()


def _newest(consumer: KafkaConsumer, partition: TopicPartition, end: int) -> bytes | None:
    newest: bytes | None = None
    idle_polls = 0
    while consumer.position(partition) < end:
        records = consumer.poll(timeout_ms=1000).get(partition, [])
        idle_polls = 0 if records else idle_polls + 1
        if idle_polls == IDLE_POLLS:
            raise KafkaTimeoutError(f"the broker gave no record of {partition.topic} for {IDLE_POLLS} s")
        for record in records:
            newest = record.value
    return newest


def end_offsets(bootstrap_servers: str, topic: str) -> dict[str, int]:
    """The end offset of each partition of a topic, by partition. Raises KafkaError."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
        return {str(partition.partition): end for partition, end in consumer.end_offsets(partitions).items()}
    finally:
        consumer.close()
