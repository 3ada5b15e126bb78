"""Kafka's last token against Spark's checkpoint: what matches, and the message where it doesn't."""

from typing import Any

import pytest
from repository import assert_one_sentence
from windows_job.consistency import CheckpointMismatch, check, check_unread

Offsets = dict[str, dict[str, int]]
TOKEN = {"query_id": "ours", "batch_id": 7, "offsets": {"raw": {"0": 100, "1": 90}, "control": {"0": 2}}}
ENDS = {"raw": {"0": 100, "1": 90}, "control": {"0": 2}}


@pytest.mark.parametrize(
    ("token", "query_id", "done", "ends"),
    [
        (None, None, -1, {"raw": {"0": 0, "1": 0}}),  # both are new
        (None, "ours", -1, ENDS),  # the first batch was started and nothing of it written
        (TOKEN | {"batch_id": 0}, "ours", -1, ENDS),  # the first batch was written and not yet committed by Spark
        (TOKEN, "ours", 7, ENDS),
        (TOKEN, "ours", 6, ENDS),  # a crash came between the two commits
        (TOKEN, "ours", 7, {"raw": {"0": 250, "1": 90, "2": 4}, "control": {"0": 3}}),  # more has come since
    ],
)
def test_matching_data_is_accepted(
    token: dict[str, Any] | None, query_id: str | None, done: int, ends: Offsets
) -> None:
    check(token, query_id, done, ends)


@pytest.mark.parametrize(
    ("token", "query_id", "done", "ends", "said"),
    [
        (
            None,
            "ours",
            7,
            ENDS,
            "The checkpoint belongs to a Kafka log that was removed: this log holds no progress token",
        ),
        (
            None,
            "ours",
            0,
            {},
            "The checkpoint belongs to a Kafka log that was removed: this log holds no progress token",
        ),
        (TOKEN, None, -1, ENDS, "Kafka holds the windows of another checkpoint, and"),
        (TOKEN, "another", 7, ENDS, "Kafka holds the windows of another checkpoint, and"),
        (
            TOKEN,
            "ours",
            8,
            ENDS,
            "Kafka's log is older than its counterpart: Kafka's last batch is 7, the checkpoint's 8",
        ),
        (
            TOKEN,
            "ours",
            5,
            ENDS,
            "The checkpoint is older than its counterpart: Kafka's last batch is 7, the checkpoint's",
        ),
        (
            TOKEN,
            "ours",
            -1,
            ENDS,
            "The checkpoint is older than its counterpart: Kafka's last batch is 7, the checkpoint's",
        ),
        (
            TOKEN,
            "ours",
            7,
            ENDS | {"raw": {"0": 100, "1": 89}},
            "The topic raw ends before the offset that the job has read",
        ),
        (TOKEN, "ours", 6, ENDS | {"raw": {"0": 100}}, "The topic raw ends before the offset that the job has read"),
        (
            TOKEN,
            "ours",
            7,
            ENDS | {"control": {"0": 0}},
            "The topic control ends before the offset that the job has read",
        ),
        (TOKEN, "ours", 7, {"raw": ENDS["raw"]}, "The topic control ends before the offset that the job has read"),
    ],
)
def test_data_that_does_not_belong_together_is_named(
    token: dict[str, Any] | None, query_id: str | None, done: int, ends: Offsets, said: str
) -> None:
    with pytest.raises(CheckpointMismatch) as error:
        check(token, query_id, done, ends)
    assert str(error.value).startswith(said)
    assert str(error.value).endswith("(`make reset`, or `docker compose down --volumes`).")
    assert_one_sentence(str(error.value))


def test_records_that_were_removed_before_the_job_read_them_are_named() -> None:
    check_unread(None, {"raw": {"0": 5}})
    for first in (0, 90):  # retention has removed nothing, or what was read
        check_unread(TOKEN, {"raw": {"0": 0, "1": first}})
    with pytest.raises(CheckpointMismatch) as error:
        check_unread(TOKEN, {"raw": {"0": 0, "1": 1291}})
    assert str(error.value).startswith(
        "Kafka has removed records that the job has not read: offsets 90 to 1,290 of partition 1 of raw."
        " They are lost. To go on without them, set FAIL_ON_DATA_LOSS=false"
    )
