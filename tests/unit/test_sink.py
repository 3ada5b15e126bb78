"""Kafka's last token against Spark's checkpoint: which go together, and what is said where they don't."""

from typing import Any

import pytest
from rooms import assert_one_sentence, windows_job

job = windows_job()

Offsets = dict[str, dict[str, int]]
TOKEN = {"query_id": "ours", "batch_id": 7, "offsets": {"raw": {"0": 100, "1": 90}, "control": {"0": 2}}}
ENDS = {"raw": {"0": 100, "1": 90}, "control": {"0": 2}}


@pytest.mark.parametrize(
    ("token", "query_id", "done", "ends"),
    [
        (None, None, -1, {"raw": {"0": 0, "1": 0}}),  # both are new
        (None, "ours", -1, ENDS),  # the first batch was begun and nothing of it written
        (TOKEN | {"batch_id": 0}, "ours", -1, ENDS),  # the first batch was written and not yet done for Spark
        (TOKEN, "ours", 7, ENDS),
        (TOKEN, "ours", 6, ENDS),  # a crash came between the two commits
        (TOKEN, "ours", 7, {"raw": {"0": 250, "1": 90, "2": 4}, "control": {"0": 3}}),  # more has come since
    ],
)
def test_what_goes_together(token: dict[str, Any] | None, query_id: str | None, done: int, ends: Offsets) -> None:
    job.check_fit(token, query_id, done, ends)


@pytest.mark.parametrize(
    ("token", "query_id", "done", "ends", "said"),
    [
        (None, "ours", 7, ENDS, "The job's checkpoint is of a Kafka log that is gone: nothing was ever written"),
        (None, "ours", 0, {}, "The job's checkpoint is of a Kafka log that is gone: nothing was ever written"),
        (TOKEN, None, -1, ENDS, "Kafka holds the windows of another checkpoint than the job's"),
        (TOKEN, "another", 7, ENDS, "Kafka holds the windows of another checkpoint than the job's"),
        (TOKEN, "ours", 8, ENDS, "Kafka's log is the older one: Kafka's last batch is 7, the checkpoint's is 8"),
        (TOKEN, "ours", 5, ENDS, "The job's checkpoint is the older one: Kafka's last batch is 7, the checkpoint's is"),
        (TOKEN, "ours", -1, ENDS, "The job's checkpoint is the older one: Kafka's last batch is 7, the checkpoint's"),
        (TOKEN, "ours", 7, ENDS | {"raw": {"0": 100, "1": 89}}, "The topic raw ends before what the job has read"),
        (TOKEN, "ours", 6, ENDS | {"raw": {"0": 100}}, "The topic raw ends before what the job has read"),
        (TOKEN, "ours", 7, ENDS | {"control": {"0": 0}}, "The topic control ends before what the job has read"),
        (TOKEN, "ours", 7, {"raw": ENDS["raw"]}, "The topic control ends before what the job has read"),
    ],
)
def test_what_does_not_go_together(
    token: dict[str, Any] | None, query_id: str | None, done: int, ends: Offsets, said: str
) -> None:
    with pytest.raises(job.DoesNotFit) as error:
        job.check_fit(token, query_id, done, ends)
    assert str(error.value).startswith(said)
    assert str(error.value).endswith("`make reset`, or `docker compose down --volumes`.")
    assert_one_sentence(str(error.value))
