"""Kafka's log and Spark's checkpoint, held against each other before the job starts. Pure."""

from typing import Any

RESET = "remove all data together and start again (`make reset`, or `docker compose down --volumes`)"


class CheckpointMismatch(Exception):
    """Kafka's log and Spark's checkpoint don't belong together."""


def check(token: dict[str, Any] | None, query_id: str | None, done: int, ends: dict[str, dict[str, int]]) -> None:
    """Raise CheckpointMismatch unless Kafka's last token and Spark's checkpoint are of one query at the same point.

    `query_id` and `done` are the checkpoint's query and its last committed batch (None and -1 in a new one), `ends` the
    topics' end offsets: topic -> partition -> offset. The job would otherwise emit windows a second time, or skip some.
    """
    if token is None and done < 0:
        return
    if token is None:
        wrong = "The checkpoint belongs to a Kafka log that was removed: this log holds no progress token"
    elif query_id != token["query_id"]:
        wrong = "Kafka holds the windows of another checkpoint, and the job would emit all of them again"
    elif not done <= token["batch_id"] <= done + 1:
        older = "Kafka's log" if token["batch_id"] < done else "The checkpoint"
        wrong = (
            f"{older} is older than its counterpart: Kafka's last batch is {token['batch_id']}, the checkpoint's {done}"
        )
    elif beyond := [
        topic
        for topic, offsets in token["offsets"].items()
        if any(ends.get(topic, {}).get(partition, 0) < offset for partition, offset in offsets.items())
    ]:
        wrong = (
            f"The topic {beyond[0]} ends before the offset that the job has read: it was removed and created again, or"
            " it has lost its newest records, as after a power loss"
        )
    else:
        return
    raise CheckpointMismatch(f"{wrong}. Put back what was removed, or {RESET}.")


def check_unread(token: dict[str, Any] | None, firsts: dict[str, dict[str, int]]) -> None:
    """Raise CheckpointMismatch unless Kafka holds all records that the job has not read yet.

    `firsts` are the topics' first offsets: topic -> partition -> offset.
    """
    for topic, offsets in token["offsets"].items() if token else ():
        for partition, read in offsets.items():
            first = firsts.get(topic, {}).get(partition, 0)
            if first > read:
                raise CheckpointMismatch(
                    f"Kafka has removed records that the job has not read: offsets {read:,} to {first - 1:,} of"
                    f" partition {partition} of {topic}. They are lost. To go on without them, set"
                    " FAIL_ON_DATA_LOSS=false (or fail_on_data_loss) for one start; to keep records longer, raise the"
                    " topic's retention.ms."
                )
