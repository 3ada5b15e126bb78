"""The partition of a key, as Kafka's clients choose it."""

from functools import lru_cache

from kafka.partitioner import murmur2


@lru_cache(maxsize=200_000)
def _hash(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF


def partition_for(key: bytes, partitions: int) -> int:
    """The number of the partition of `key` among `partitions`, the same as Kafka's default partitioner chooses.

    The hash is cached: it is slow to compute, and the keys stay the same.
    """
    return _hash(key) % partitions
