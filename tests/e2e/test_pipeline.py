"""The whole pipeline on the real Kafka, Spark and Druid, without Docker. Each test builds on those before it."""

import re
import shutil
import signal
import subprocess
import sys
import tempfile
from typing import Any

import psutil
import pytest
import recompute
import requests
from conftest import SETTINGS, WATERMARK_SECONDS, WINDOW_SECONDS, Stack, poll_until
from rooms import ROOT

from kafka import KafkaAdminClient, KafkaProducer

RAW, AGGREGATED = "sensor-data-raw", "sensor-data-aggregated"
pytestmark = pytest.mark.timeout(900)

MALFORMED = [b"not json", b"", b'{"time": "2026-', b"\xff\xfe", b"[1, 2]", b'{"entity": 1, "temp": 20.0}']


def acknowledged(stack: Stack) -> int:
    """What the generator reports in the closing lines of all its runs."""
    endings = re.findall(
        r"^(?:finished|stopped by \w+): \d+ sent, (\d+) acknowledged, 0 failed$", stack.log("sensorgenerator"), re.M
    )
    assert endings
    return sum(map(int, endings))


def raw_rows(stack: Stack) -> int:
    return int(stack.sql(f'SELECT COUNT(*) AS n FROM "{RAW}"')[0]["n"])


def watermark(readings: list[dict[str, Any]]) -> int:
    return max(recompute.millis(reading["time"]) for reading in readings) - WATERMARK_SECONDS * 1000


def assert_every_closed_window_is_right(stack: Stack, readings: list[dict[str, Any]]) -> None:
    """In Kafka and in Druid: every closed window once, with the recomputed values, and no other."""
    expected = recompute.closed(recompute.windows(readings, WINDOW_SECONDS), watermark(readings), WINDOW_SECONDS)
    assert len(expected) > 100
    poll_until(
        f"{len(expected)} windows in Druid",
        lambda: stack.sql(f'SELECT COUNT(*) AS n FROM "{AGGREGATED}"')[0]["n"] >= len(expected),
        seconds=120,
    )
    assert recompute.emitted(recompute.records(stack.kafka, AGGREGATED)) == expected
    assert recompute.emitted(stack.sql(f'SELECT * FROM "{AGGREGATED}"')) == expected


def test_make_run_ends_by_itself_with_the_counts(stack: Stack) -> None:
    run = stack.make("run")
    assert run.returncode == 0, run.stdout
    assert "Traceback" not in run.stdout
    for words in ("all healthy", "readings in Kafka", "windows still open", "/unified-console.html"):
        assert words in run.stdout


def test_druid_has_every_reading_that_was_acknowledged(stack: Stack) -> None:
    assert raw_rows(stack) == acknowledged(stack) > 1000
    [row] = stack.sql(f'SELECT COUNT(DISTINCT entity) AS e, COUNT(DISTINCT vin) AS v FROM "{RAW}"')
    assert row == {"e": int(SETTINGS["NUM_ENTITIES"]), "v": int(SETTINGS["NUM_ENTITIES"])}


def test_every_closed_window_equals_the_recomputation(stack: Stack) -> None:
    readings = recompute.records(stack.kafka, RAW)
    assert len(readings) == acknowledged(stack)
    assert_every_closed_window_is_right(stack, readings)


def test_both_supervisors_are_running(stack: Stack) -> None:
    for name in (RAW, AGGREGATED):
        status = requests.get(f"{stack.router}/druid/indexer/v1/supervisor/{name}/status", timeout=30).json()["payload"]
        assert (status["state"], status["healthy"]) == ("RUNNING", True)


def test_status_is_good(stack: Stack) -> None:
    status = stack.make("status")
    assert status.returncode == 0, status.stdout
    assert "NOT HEALTHY" not in status.stdout


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")
def test_the_console_shows_both_datasources(stack: Stack) -> None:
    with tempfile.TemporaryDirectory() as profile:
        page = subprocess.run(
            [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             f"--user-data-dir={profile}", "--window-size=1600,1000", "--virtual-time-budget=20000", "--dump-dom",
             f"{stack.router}/unified-console.html#datasources"],
            check=True, capture_output=True, text=True, timeout=120,
        ).stdout  # fmt: skip
    for name in (RAW, AGGREGATED):
        assert f">{name}<" in re.sub(r"\s+", " ", page), "the Datasources view doesn't show it"


def processes(stack: Stack) -> dict[str, int]:
    """The process of each service, from the process manager's log of starts."""
    found = {}
    for line in (stack.folder / "logs/supervisord.log").read_text().splitlines():
        if match := re.search(r"spawned: '(.+)' with pid (\d+)", line):
            found[match[1]] = int(match[2])
    return found


def test_a_second_up_changes_nothing(stack: Stack) -> None:
    before, rows = processes(stack), raw_rows(stack)
    again = stack.make("up")
    assert again.returncode == 0, again.stdout
    assert processes(stack) == before
    assert raw_rows(stack) == rows


def test_a_batch_is_written_once_however_often_spark_repeats_it(stack: Stack, tmp_path: Any) -> None:
    """The sink alone, on topics of its own: a repeated batch, and one that a crash left uncommitted."""
    sys.path.append(str(ROOT / "pyspark"))
    from sink import CheckpointMismatch, ExactlyOnceSink  # noqa: PLC0415

    class Rows:
        def __init__(self, *rows: tuple[str, str]) -> None:
            self.rows = rows

        def collect(self) -> tuple[tuple[str, str], ...]:
            return self.rows

    with KafkaAdminClient(bootstrap_servers=stack.kafka) as admin:
        once = {"num_partitions": 1, "replication_factor": 1}
        admin.create_topics({"sink-test": once, "sink-test-progress": once}, wait_for_metadata=True)
    (tmp_path / "metadata").write_text('{"id":"query-1"}')
    new_sink = lambda: ExactlyOnceSink(stack.kafka, "sink-test", "sink-test-progress", tmp_path, 30)  # noqa: E731

    first = new_sink()
    first.write(Rows(("1", '"a"'), ("2", '"b"')), 7)
    first.write(Rows(("1", '"a"')), 7)
    # A crash in the middle: records are sent, nothing is committed.
    first._producer.begin_transaction()
    first._producer.send("sink-test", key=b"1", value=b'"uncommitted"').get(timeout=30)
    second = new_sink()
    second.write(Rows(("1", '"a"')), 7)
    second.write(Rows(("1", '"c"')), 8)
    with pytest.raises(
        Exception, match="(?i)fenced|epoch|invalid"
    ):  # the one before is fenced: it can't write any more
        first._producer.commit_transaction()
    assert recompute.records(stack.kafka, "sink-test") == ["a", "b", "c"]

    (tmp_path / "metadata").write_text('{"id":"query-2"}')
    with pytest.raises(CheckpointMismatch, match="another checkpoint .* `make reset`"):
        new_sink()


def test_nothing_is_lost_or_doubled_by_malformed_records_a_restart_and_a_killed_job(stack: Stack) -> None:
    producer = KafkaProducer(bootstrap_servers=stack.kafka)
    for value in MALFORMED:
        producer.send(RAW, key=b"1", value=value).get(timeout=30)
    producer.close()

    down = stack.make("down")
    assert down.returncode == 0, down.stdout
    assert stack.make("status").returncode != 0
    up = stack.make("up")
    assert up.returncode == 0, up.stdout
    job = psutil.Process(processes(stack)["pyspark"])
    for process in [*job.children(recursive=True), job]:
        process.send_signal(signal.SIGKILL)
    run = stack.make("run")  # follows the generator that is running
    assert run.returncode == 0, run.stdout

    readings = [
        record for record in recompute.records(stack.kafka, RAW) if isinstance(record, dict) and "seq" in record
    ]
    assert len(readings) == acknowledged(stack)
    poll_until("every reading in Druid", lambda: raw_rows(stack) >= len(readings), seconds=120)
    assert raw_rows(stack) == len(readings)
    by_vehicle: dict[int, list[int]] = {}
    for reading in readings:
        by_vehicle.setdefault(reading["entity"], []).append(reading["seq"])
    for entity, seqs in by_vehicle.items():
        assert seqs == list(range(1, len(seqs) + 1)), f"the counter of vehicle {entity} has gaps or repeats"
    assert_every_closed_window_is_right(stack, readings)


def test_a_wrong_constant_is_said_and_ends_the_start(stack: Stack) -> None:
    wrong = stack.make("up", NUM_ENTITIES="0")
    assert wrong.returncode != 0
    assert "NUM_ENTITIES (or num_entities) is '0': it must be" in wrong.stdout
    assert "Traceback" not in wrong.stdout
    wrong = stack.make("up", WINDOW_DURATION="soon")
    assert wrong.returncode != 0
    assert "WINDOW_DURATION (or window_duration) is 'soon'" in wrong.stdout
    mended = stack.make("up", SCRIPT_DURATION="0")
    assert mended.returncode == 0, mended.stdout


def test_a_server_that_is_killed_comes_back(stack: Stack) -> None:
    before = processes(stack)
    psutil.Process(before["historical"]).kill()
    poll_until("the historical started again", lambda: processes(stack)["historical"] != before["historical"], 30)
    poll_until("everything healthy again", lambda: stack.make("status").returncode == 0, 120)


def test_reset_leaves_nothing(stack: Stack) -> None:
    assert (stack.folder / "data").exists()
    reset = stack.make("reset")
    assert reset.returncode == 0, reset.stdout
    assert not stack.folder.exists()
