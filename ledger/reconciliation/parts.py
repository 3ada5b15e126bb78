"""What the windows job has done, in parts: a topic may be too long for the memory."""

import logging
from collections.abc import Callable, Iterator

from reconciliation.progress import Offsets, Progress
from reconciliation.topics import KafkaTopics

PART = 1_000_000  # records of the raw topic that are verified before the next ones are read; more in a larger batch

logger = logging.getLogger(__name__)


def follow(kafka: KafkaTopics, topic: str, progress: Progress, first: Offsets) -> Offsets:
    """Add the tokens from `first` on to `progress`, until there are no more; the offsets where they end.

    It keeps no steps: count() reads the tokens again, a part at a time, because there may be very many.
    """
    known = len(progress.ignored)
    while (end := kafka.end(topic)) != first:
        for _, records in kafka.read(topic, first, end):
            for record in records:
                progress.add(record.value)
            progress.steps.clear()
        first = end
    if progress.ignored and not known:
        logger.warning("%s holds a record that is not a progress token: %r", topic, progress.ignored[0])
    return first


def parts(
    kafka: KafkaTopics, topic: str, first: Offsets, end: Offsets, progress: Progress
) -> Iterator[tuple[Progress, bool]]:
    """The tokens of these offsets, added to what follows `progress`, in parts; and whether it is the last part."""
    progress = progress.following()
    for token in _tokens(kafka, topic, first, end):
        if progress.records >= PART:
            yield progress, False
            progress = progress.following()
        progress.add(token)
    yield progress, True


def _tokens(kafka: KafkaTopics, topic: str, first: Offsets, end: Offsets) -> Iterator[bytes | None]:
    """The values of these offsets. Other topics may be read meanwhile."""
    for partition in sorted(end):
        position = first.get(partition, 0)
        while position < end[partition]:
            reading = kafka.read(topic, {partition: position}, {partition: end[partition]})
            values, position = next(
                (([record.value for record in records], records[-1].offset + 1) for _, records in reading if records),
                ([], end[partition]),
            )
            yield from values


def take(
    kafka: KafkaTopics, topic: str, position: Offsets, add: Callable[[int, int, bytes | None], bool], is_last: bool
) -> bool:
    """Add the records of a topic from `position` on, and move it to the first one that a later batch has written.

    In the last part, what is behind that is added, too, so that nothing is overlooked. False if something there belongs
    to an earlier batch: the next run would read it twice.
    """
    in_order = True
    end = kafka.end(topic)
    for partition in sorted(end):
        later = None
        for _, records in kafka.read(topic, {partition: position.get(partition, 0)}, {partition: end[partition]}):
            for record in records:
                if not add(partition, record.offset, record.value):
                    later = record.offset if later is None else later
                    if not is_last:
                        break
                elif later is not None:
                    in_order = False
            if later is not None and not is_last:
                break
        position[partition] = max(position.get(partition, 0), end[partition]) if later is None else later
    return in_order
