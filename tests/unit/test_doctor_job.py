"""The doctor's checks of the windows job and of the machine: literal values in, sentences out."""

from pathlib import Path
from typing import Any

import pytest
from diagnosis import job_checks, machine
from diagnosis.seen import Ends, JobReport
from local_stack import checks
from repository import ROOT
from service import contract

NOW = 1_795_694_400.0  # 2026-11-26T12:00:00Z
LOG = "pyspark.log in .local/stack/logs (`docker compose logs pyspark`)"


def at(time: str, **more: Any) -> dict[str, Any]:
    return {"written_at": f"2026-11-26T{time}.000Z", **more}


REFUSED = {"sentence": "WINDOW_DURATION (or window_duration) is 'soon': it must be a whole number.", "exit_code": 2}


@pytest.mark.parametrize(
    ("job", "finding"),
    [
        (JobReport(at("11:59:31"), None), ""),
        (JobReport(at("11:59:31"), at("11:59:30", **REFUSED)), ""),
        (
            JobReport(at("11:59:29"), None),
            "The windows job has not reported for 31 s. If it has ended, `make up` (`docker compose up`) starts it; if"
            " it runs and hangs, restart it with `make down` and `make up` (`docker compose restart pyspark`). The"
            f" cause may be in {LOG}.",
        ),
        (
            JobReport(None, None),
            "The windows job has not reported yet: it is starting, or it has not been started. `make up` (`docker"
            f" compose up`) starts it; the cause may be in {LOG}.",
        ),
        (
            JobReport(None, None, "Permission denied"),
            "The windows job's state file can't be read: Permission denied. `make up` (`docker compose up`) lets the"
            " job write it again.",
        ),
        (
            JobReport(None, at("11:00:00", **REFUSED)),
            "The windows job has refused to start at 2026-11-26T11:00:00.000Z: WINDOW_DURATION (or window_duration) is"
            " 'soon': it must be a whole number. After the correction, start it with `make up` (`docker compose up`).",
        ),
        (  # the state is of the run before
            JobReport(at("11:59:57"), at("11:59:58", sentence="The windows job ran out of memory.", exit_code=1)),
            "The windows job has ended at 2026-11-26T11:59:58.000Z: The windows job ran out of memory. It is started"
            " again by itself; if it is not, `make up` (`docker compose up`) starts it.",
        ),
    ],
)
def test_a_job_that_does_not_report_is_named_with_what_it_ended_with(job: JobReport, finding: str) -> None:
    findings = job_checks.report(job, NOW)
    assert [found[: len(finding)] for found in findings] == ([finding] if finding else [])


def test_the_doctor_and_the_health_checks_of_both_modes_wait_equally_long_for_a_report() -> None:
    assert checks.STATE_AGE_LIMIT == job_checks.REPORT_LIMIT
    assert f"-newermt '-{job_checks.REPORT_LIMIT} seconds'" in (ROOT / "docker-compose.yml").read_text()


def ends(**partitions: int) -> Ends:
    there = {int(name[1:]): offset for name, offset in partitions.items()}
    return Ends(dict.fromkeys(there, 0), there, there)


@pytest.mark.parametrize(
    ("before", "now", "newest_batch", "is_found"),
    [
        ({0: 5, 1: 5}, {0: 5, 1: 5}, NOW - 61, True),
        ({0: 5, 1: 5}, {0: 6, 1: 5}, NOW - 61, False),  # it reads
        ({0: 5, 1: 9}, {0: 5, 1: 9}, NOW - 61, True),
        ({0: 9, 1: 9}, {0: 9, 1: 9}, NOW - 3600, False),  # there is nothing to read
        ({0: 5, 1: 5}, {0: 5, 1: 5}, NOW - 30, False),  # a long batch
        ({}, {}, NOW - 61, False),  # its first batch
    ],
)
def test_a_job_that_does_not_read_on(
    before: dict[int, int], now: dict[int, int], newest_batch: float, is_found: bool
) -> None:
    assert bool(job_checks.lag(before, now, ends(p0=9, p1=9), newest_batch, NOW)) == is_found


def test_the_lag_of_a_job_that_does_not_read_on_is_given() -> None:
    [finding] = job_checks.lag({0: 5}, {0: 5}, ends(p0=9, p1=1_000), NOW - 120, NOW)
    assert finding == (
        "The windows job lags by 1,004 offsets and has finished no batch since 2026-11-26T11:58:00.000Z. If that stays"
        " so, lower MAX_OFFSETS_PER_TRIGGER or restart it with `make down` and `make up` (`docker compose restart"
        f" pyspark`); the cause may be in {LOG}."
    )


@pytest.mark.parametrize(
    ("state", "offsets"),
    [
        ({"offsets": {"raw": {"0": 7, "1": 8}, "control": {"0": 1}}}, {0: 7, 1: 8}),
        ({"offsets": None}, {}),
        ({"offsets": {"raw": {"zero": 7}}}, {}),
        ({}, {}),
        (None, {}),
    ],
)
def test_where_the_job_is_by_its_state_file(state: dict[str, Any] | None, offsets: dict[int, int]) -> None:
    assert job_checks.read_offsets(JobReport(state, None), "raw") == offsets


def test_removed_records_that_the_job_has_not_read_are_named() -> None:
    token = {"offsets": {"raw": {"0": 100, "1": 50}, "control": {"0": 1}}}
    assert job_checks.removed_records(token, "raw", Ends({0: 100, 1: 50}, {}, {})) == []
    assert job_checks.removed_records(None, "raw", Ends({0: 100}, {}, {})) == []
    assert job_checks.removed_records(token, "raw", Ends({0: 1_200, 1: 50}, {}, {})) == [
        "Kafka has removed records that the windows job has not read: offsets 100 to 1,199 of partition 0 of raw. They"
        " are lost; to go on without them, start the job once with FAIL_ON_DATA_LOSS=false: `make up"
        " FAIL_ON_DATA_LOSS=false` (`FAIL_ON_DATA_LOSS=false docker compose up`)."
    ]


def token(records: int, rejected: int = 0, late: int = 0) -> dict[str, Any]:
    totals = {"records": records, "windows": 0, "rejected": rejected, "late": late}
    return {"totals": totals, "watermark_seconds": 180, "offsets": {}}


@pytest.mark.parametrize(
    "foreign",
    [
        {},
        {"totals": {}},
        None,
        7,
        {**contract.topics()["progress"].schema["examples"][0], "offsets": {"raw": {"zero": 1}}},
        {**contract.topics()["progress"].schema["examples"][0], "offsets": {"raw": 1}},
        {**contract.topics()["progress"].schema["examples"][0], "watermark_seconds": "3"},
    ],
)
def test_the_newest_token_is_the_last_record_that_is_one(foreign: Any) -> None:
    [example] = contract.topics()["progress"].schema["examples"]
    newer = {**example, "batch_id": 13}
    assert job_checks.newest_token([example, newer, foreign]) == newer
    assert job_checks.newest_token([foreign]) is None


def test_a_tenth_of_the_records_may_be_rejected_and_a_tenth_late() -> None:
    assert job_checks.shares(token(1_000, 100, 100), [{"reason": "temp is missing"}]) == []
    assert job_checks.shares(token(0), []) == []
    assert job_checks.shares(None, []) == []


def test_many_rejected_records_are_named_with_the_most_frequent_reasons() -> None:
    reasons = ["temp is missing"] * 3 + ["time is missing"] * 2 + ["a", "a", "b"]
    assert job_checks.shares(token(1_000, 101), [{"reason": reason} for reason in reasons]) == [
        '10% of all 1,000 records are rejected. The most frequent reasons of the newest: "temp is missing" (3 of 8),'
        ' "time is missing" (2 of 8), "a" (2 of 8). Correct what sends them; the topic\'s schema says what a reading'
        " must have."
    ]
    [finding] = job_checks.shares(token(1_000, 600), [])
    assert finding.startswith("60% of all 1,000 records are rejected. ")
    assert "of the newest: none can be read. " in finding


def test_many_late_readings_are_named_with_the_watermark() -> None:
    assert job_checks.shares(token(1_000, late=250), []) == [
        "25% of all 1,000 records are late: they came after the watermark of 180 s had closed their window. Raise"
        " WATERMARK_DURATION (or watermark_duration), or send the readings sooner."
    ]


def test_too_little_disk_or_memory_is_named() -> None:
    folder = Path("/var/lib/sensor-data")
    assert machine.disk(None, folder) == machine.disk(2**30, folder) == []
    [finding] = machine.disk(2**30 - 1, folder)
    assert finding.startswith("Only 1,024 MiB are free on the disk of /var/lib/sensor-data. Free at least 1 GiB: ")
    assert machine.memory(None) == machine.memory(2**28) == []
    [finding] = machine.memory(100 * 2**20)
    assert finding.startswith("Only 100 MiB of memory are available. ")


def test_the_free_disk_and_the_available_memory_of_this_machine(tmp_path: Path) -> None:
    assert machine.free_disk(tmp_path / "missing/folder") == pytest.approx(machine.free_disk(tmp_path), rel=0.5)
    meminfo = tmp_path / "meminfo"
    assert machine.available_memory(meminfo) is None
    meminfo.write_text("MemTotal:  2048 kB\nMemAvailable:    1024 kB\n")
    assert machine.available_memory(meminfo) == 2**20
    meminfo.write_text("MemTotal:  2048 kB\n")
    assert machine.available_memory(meminfo) is None
