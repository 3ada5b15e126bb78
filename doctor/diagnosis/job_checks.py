"""Checks of the windows job, by its state file, its failure file and its newest progress token. Pure."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from service.state import iso_time

from diagnosis.remedies import UP, log_of, restart
from diagnosis.seen import Ends, JobReport, Offsets

REPORT_LIMIT = 30  # seconds, as in the health checks
BATCH_LIMIT = 60  # seconds that a batch may take; the largest take about a minute
SHARE_LIMIT = 0.1  # of rejected or late records among all
REASONS = 3  # of rejected records that are named
REFUSED = 2  # the job's exit code where a restart can't help


def report(job: JobReport, now: float) -> list[str]:
    """The job has ended, or does not report. `now` is in seconds since the epoch."""
    written = seconds(job.state)
    if job.failure and seconds(job.failure) >= written:  # it is removed when the job reports again
        return [ended(job.failure)]
    if job.state and now - written <= REPORT_LIMIT:
        return []
    if job.unreadable:
        return [f"The windows job's state file can't be read: {job.unreadable}. {UP} lets the job write it again."]
    if not job.state:
        return [
            f"The windows job has not reported yet: it is starting, or it has not been started. {UP} starts it; the"
            f" cause may be in {log_of('pyspark')}."
        ]
    return [
        f"The windows job has not reported for {now - written:,.0f} s. If it has ended, {UP} starts it; if it runs and"
        f" hangs, restart it with {restart('pyspark')}. The cause may be in {log_of('pyspark')}."
    ]


def ended(failure: Mapping[str, Any]) -> str:
    """What the job has ended with, by its failure file."""
    sentence = str(failure.get("sentence", "without a reason")).strip().rstrip(".")
    when = failure.get("written_at")
    if failure.get("exit_code") == REFUSED:
        return f"The windows job has refused to start at {when}: {sentence}. After the correction, start it with {UP}."
    return (
        f"The windows job has ended at {when}: {sentence}. It is started again by itself; if it is not, {UP} starts it."
    )


def seconds(report: Mapping[str, Any] | None) -> float:
    """When a state file was written, in seconds since the epoch; 0 where it doesn't say."""
    try:
        return datetime.fromisoformat((report or {})["written_at"]).timestamp()
    except (LookupError, TypeError, ValueError):
        return 0


def read_offsets(job: JobReport, topic: str) -> Offsets:
    """Where the job is in a topic, by its state file."""
    try:
        return {int(p): int(offset) for p, offset in job.state["offsets"][topic].items()}  # type: ignore[index]
    except (LookupError, TypeError, ValueError, AttributeError):
        return {}


def lag(before: Offsets, now: Offsets, ends: Ends, newest_batch: float, time: float) -> list[str]:
    """The job reports but reads no further.

    `before` and `now` are where it is in the raw topic at two looks, `ends` is of the first. `newest_batch` is when the
    newest batch was committed, in seconds since the epoch, as `time` is.
    """
    behind = sum(max(0, end - now.get(p, 0)) for p, end in ends.committed.items())
    if not now or not behind or now != before or time - newest_batch < BATCH_LIMIT:
        return []
    return [
        f"The windows job lags by {behind:,} offsets and has finished no batch since {iso_time(newest_batch)}. If that"
        f" stays so, lower MAX_OFFSETS_PER_TRIGGER or restart it with {restart('pyspark')}; the cause may be in"
        f" {log_of('pyspark')}."
    ]


def newest_token(values: Sequence[Any]) -> Mapping[str, Any] | None:
    """The last of these records of the progress topic that is a token; other clients may have sent others."""
    return next((value for value in reversed(values) if is_token(value)), None)


def is_token(value: Any) -> bool:
    """Whether a record has the fields of schemas/sensor-data-progress.schema.json that are needed here."""
    try:
        numbers = [value["totals"][name] for name in ("records", "rejected", "late")]
        numbers += [value["watermark_seconds"]]
        for offsets in value["offsets"].values():
            numbers += [*map(int, offsets), *offsets.values()]
        return all(type(number) is int for number in numbers)
    except (LookupError, TypeError, ValueError, AttributeError):
        return False


def removed_records(token: Mapping[str, Any] | None, topic: str, ends: Ends) -> list[str]:
    """Retention has removed records that the job has not read."""
    read = token["offsets"].get(topic, {}) if token else {}
    return [
        f"Kafka has removed records that the windows job has not read: offsets {offset:,} to {ends.first[int(p)] - 1:,}"
        f" of partition {p} of {topic}. They are lost; to go on without them, start the job once with"
        f" FAIL_ON_DATA_LOSS=false: `make up FAIL_ON_DATA_LOSS=false` (`FAIL_ON_DATA_LOSS=false docker compose up`)."
        for p, offset in read.items()
        if ends.first.get(int(p), 0) > offset
    ]


def shares(token: Mapping[str, Any] | None, rejected: Collection[Mapping[str, Any]]) -> list[str]:
    """Many records are rejected or late. `rejected` are the newest rejected records."""
    if not token or not token["totals"]["records"]:
        return []
    totals, findings = token["totals"], []
    records = totals["records"]
    if totals["rejected"] / records > SHARE_LIMIT:
        reasons = Counter(str(record.get("reason")) for record in rejected).most_common(REASONS)
        listed = ", ".join(f'"{reason}" ({number} of {len(rejected)})' for reason, number in reasons)
        findings.append(
            f"{totals['rejected'] / records:.0%} of all {records:,} records are rejected. The most frequent reasons of"
            f" the newest: {listed or 'none can be read'}. Correct what sends them; the topic's schema says what a"
            " reading must have."
        )
    if totals["late"] / records > SHARE_LIMIT:
        findings.append(
            f"{totals['late'] / records:.0%} of all {records:,} records are late: they came after the watermark of"
            f" {token.get('watermark_seconds')} s had closed their window. Raise WATERMARK_DURATION (or"
            " watermark_duration), or send the readings sooner."
        )
    return findings
