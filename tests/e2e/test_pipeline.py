"""The whole pipeline on the real Kafka, Spark and Druid, without Docker. Each test builds on those before it."""

import base64
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from typing import Any

import fuzz
import psutil
import pytest
import recompute
import requests
from conftest import (
    SETTINGS,
    WATERMARK_SECONDS,
    WINDOW_SECONDS,
    Stack,
    assert_every_window_is_right,
    poll_until,
    processes,
)
from rooms import ROOT

from kafka import KafkaAdminClient, KafkaProducer

RAW, AGGREGATED, REJECTED = "sensor-data-raw", "sensor-data-aggregated", "sensor-data-rejected"
pytestmark = pytest.mark.timeout(900)

# The reason that each kind of the generator's malformed records is rejected for.
REASONS = {
    "no JSON object with the fields of a reading": ["truncated", "not_json", "nan_temp"],
    "no time": ["no_time"],
    "time is before 2000": ["old_time"],
    "time is ahead of the broker's clock": ["future_time"],
    "no entity, or no whole number": ["no_entity"],
    "no temp, or no number": ["text_temp"],
    "temp is out of range": ["temp_out_of_range"],
    "humidity is out of range": ["humidity_out_of_range"],
}
MALFORMED = [b"not json", b"", b'{"time": "2026-', b"\xff\xfe", b"[1, 2]", b'{"entity": 1, "temp": 20.0}',
             b'{"time":"2026-11-24T00:00:00.000Z","entity":999}', None]  # fmt: skip


def acknowledged(stack: Stack) -> int:
    """What the generator reports in the closing lines of all its runs."""
    endings = re.findall(
        r"^(?:finished|stopped by \w+): \d+ sent, (\d+) acknowledged, 0 failed$", stack.log("sensorgenerator"), re.M
    )
    assert endings
    return sum(map(int, endings))


def raw_rows(stack: Stack) -> int:
    return int(stack.sql(f'SELECT COUNT(*) AS n FROM "{RAW}"')[0]["n"])


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


def test_the_last_windows_come_by_themselves_and_the_books_close(stack: Stack) -> None:
    """Nobody sends any more: what is open is closed when nothing came for the window and the watermark duration."""

    def nothing_open() -> bool:
        return stack.verify()["in windows still open"] == [0]

    poll_until("the last windows", nothing_open, seconds=WINDOW_SECONDS + WATERMARK_SECONDS + 60)
    books, sent = stack.verify(), acknowledged(stack)
    assert books["records in the raw topic"] == books["in windows that are emitted"] == [sent]
    assert books["readings"] == books["readings in windows"] == [sent, sent]
    for words in ("late", "gaps in seq", "out of order", "duplicates by (entity, seq)", "in none of these"):
        assert books[words] == [0]
    assert_every_window_is_right(stack.kafka, stack.router)


def test_the_supervisors_are_running(stack: Stack) -> None:
    for name in (RAW, AGGREGATED, REJECTED):
        status = requests.get(f"{stack.router}/druid/indexer/v1/supervisor/{name}/status", timeout=30).json()["payload"]
        assert (status["state"], status["healthy"]) == ("RUNNING", True)


def test_every_datasource_will_be_compacted(stack: Stack) -> None:
    known = requests.get(f"{stack.router}/druid/coordinator/v1/config/compaction", timeout=30).json()
    assert {each["dataSource"] for each in known["compactionConfigs"]} == {RAW, AGGREGATED, REJECTED}


def test_status_is_good(stack: Stack) -> None:
    status = stack.make("status")
    assert status.returncode == 0, status.stdout
    assert "NOT HEALTHY" not in status.stdout


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_the_console_shows_both_datasources(stack: Stack) -> None:
    console = requests.get(f"{stack.router}/unified-console.html", timeout=30)
    assert console.ok, console.text
    assert "<script" in console.text
    if not CHROMIUM:
        pytest.skip("the console is served; its views can't be looked at, as Chromium is not installed")
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


def test_a_second_up_changes_nothing(stack: Stack) -> None:
    before, rows = processes(stack.folder), raw_rows(stack)
    again = stack.make("up")
    assert again.returncode == 0, again.stdout
    assert processes(stack.folder) == before
    assert raw_rows(stack) == rows


def test_a_batch_is_written_once_however_often_spark_repeats_it(stack: Stack) -> None:
    """The sink alone, on topics of its own: a repeated batch, one that a crash left uncommitted, and a zombie."""
    sys.path.append(str(ROOT / "pyspark"))
    from sink import ExactlyOnceSink  # noqa: PLC0415

    with KafkaAdminClient(bootstrap_servers=stack.kafka) as admin:
        once = {"num_partitions": 1, "replication_factor": 1}
        admin.create_topics({"sink-test": once, "sink-test-progress": once}, wait_for_metadata=True)

    def write(sink: Any, batch_id: int, *values: str) -> None:
        if not sink.has(batch_id):
            sink.commit([("sink-test", "1", f'"{value}"') for value in values], {"batch_id": batch_id})

    new_sink = lambda: ExactlyOnceSink(stack.kafka, ["sink-test"], "sink-test-progress", 30)  # noqa: E731
    first = new_sink()
    write(first, 7, "a", "b")
    write(first, 7, "a", "b")
    # A crash in the middle: records are sent, nothing is committed.
    first._producer.begin_transaction()
    first._producer.send("sink-test", key=b"1", value=b'"uncommitted"').get(timeout=30)
    second = new_sink()
    assert second.last_token == {"batch_id": 7}
    write(second, 7, "a", "b")
    write(second, 8, "c")
    with pytest.raises(Exception, match="(?i)fenced|epoch|invalid"):  # the one before can't write any more
        first._producer.commit_transaction()
    assert recompute.records(stack.kafka, "sink-test") == ["a", "b", "c"]


def test_nothing_is_lost_or_doubled_by_malformed_records_a_restart_and_a_killed_job(stack: Stack) -> None:
    producer = KafkaProducer(bootstrap_servers=stack.kafka)
    for value in MALFORMED:
        producer.send(RAW, key=b"1", value=value).get(timeout=30)
    producer.close()

    down = stack.make("down")
    assert down.returncode == 0, down.stdout
    assert stack.make("status").returncode != 0
    up = stack.make("up", SCRIPT_DURATION="45")
    assert up.returncode == 0, up.stdout
    kill_the_job(stack)
    run = stack.make("run", SCRIPT_DURATION="45")  # follows the generator that is running
    assert run.returncode == 0, run.stdout

    poll_until("the last windows", lambda: stack.verify()["in windows still open"] == [0], seconds=120)
    books, sent = stack.verify(), acknowledged(stack)
    assert books["rejected"] == [len(MALFORMED), len(MALFORMED)]  # in Kafka and in Druid
    assert books["readings"] == [sent, sent]
    for words in ("late", "gaps in seq", "out of order", "duplicates by (entity, seq)"):
        assert books[words] == [0]
    assert_every_window_is_right(stack.kafka, stack.router)


def test_the_ledger_tells_what_the_generator_injected_figure_by_figure(stack: Stack) -> None:
    before = stack.verify()
    run = stack.make(
        "run", SCRIPT_DURATION="75", LATE_SHARE="0.02", DUPLICATE_SHARE="0.02", OUT_OF_ORDER_SHARE="0.05",
        MALFORMED_SHARE="0.01", LATE_BY="45", NUM_ENTITIES="100",
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
    poll_until("the last windows", lambda: stack.verify()["in windows still open"] == [0], seconds=120)
    after = stack.verify()
    key = json.loads(re.findall(r"^answer key (.*)$", stack.log("sensorgenerator"), re.M)[-1])
    assert key["readings"] > 10_000
    assert key["cut_short"] == 0

    def found(words: str) -> int:
        return after[words][0] - before[words][0]

    assert {
        "readings": found("readings"),
        "late": found("late"),
        "out_of_order": found("out of order"),
        "duplicates": found("duplicates by (entity, seq)"),
        "gaps": found("gaps in seq"),
        "malformed_total": found("rejected"),
    } == {name: key[name] for name in key if name not in ("malformed", "cut_short")}
    assert found("in windows that are emitted") == key["readings"] - key["late"]
    reasons = {row["reason"]: row["n"] for row in stack.sql(f'SELECT reason, COUNT(*) n FROM "{REJECTED}" GROUP BY 1')}
    for reason, kinds in REASONS.items():
        already = after["rejected"][0] - key["malformed_total"]
        assert 0 <= reasons[reason] - sum(key["malformed"][kind] for kind in kinds) <= already, reason
    assert_every_window_is_right(stack.kafka, stack.router)


def test_ten_thousand_fuzzed_messages_are_rejected_or_in_windows(stack: Stack) -> None:
    before, messages = stack.verify(), fuzz.messages(10_000, seed=4)
    producer = KafkaProducer(bootstrap_servers=stack.kafka, compression_type="lz4", max_request_size=8 * 2**20)
    sent = [producer.send(RAW, key=b"%d" % (number % 50), value=value) for number, value in enumerate(messages)]
    for future in sent:
        future.get(timeout=60)
    producer.close()
    restarts = {name: pid for name, pid in processes(stack.folder).items() if name != "sensorgenerator"}
    poll_until("the last windows", lambda: stack.verify()["in windows still open"] == [0], seconds=180)
    after = stack.verify()
    rejected = after["rejected"][0] - before["rejected"][0]
    in_windows = after["in windows that are emitted"][0] - before["in windows that are emitted"][0]
    assert rejected + in_windows == len(messages)
    assert min(rejected, in_windows) > 2000
    assert {name: pid for name, pid in processes(stack.folder).items() if name != "sensorgenerator"} == restarts
    # Every rejected record is kept, byte by byte, under the place where it was.
    raw = {(message.partition, message.offset): message.value for message in recompute.messages(stack.kafka, RAW)}
    kept = recompute.records(stack.kafka, REJECTED)
    assert len({(record["partition"], record["offset"]) for record in kept}) == len(kept) == after["rejected"][0]
    for record in kept:
        value = raw[record["partition"], record["offset"]]
        assert record["size"] == (None if value is None else len(value))
        original = None if record["value_base64"] is None else base64.b64decode(record["value_base64"])
        assert original == (value[: 1024 * 1024] if value is not None else None)


def kill_the_job(stack: Stack) -> None:
    job = psutil.Process(processes(stack.folder)["pyspark"])
    for process in [*job.children(recursive=True), job]:
        process.send_signal(signal.SIGKILL)


def test_the_last_windows_come_after_a_kill_in_the_silence_with_an_idle_partition_too(stack: Stack) -> None:
    vehicle, now = 5001, datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    reading = {"time": now, "entity": vehicle, "temp": 20.0, "humidity": 35.0, "vin": "X"}
    producer = KafkaProducer(bootstrap_servers=stack.kafka)
    for seq in range(1, 11):
        producer.send(RAW, json.dumps(reading | {"seq": seq}).encode(), partition=0).get(timeout=30)
    producer.close()
    poll_until("the readings in Druid", lambda: raw_rows_of(stack, vehicle) == 10, seconds=60)
    kill_the_job(stack)
    counted = f'SELECT SUM("count") AS n FROM "{AGGREGATED}" WHERE entity = {vehicle}'
    poll_until(
        "their window", lambda: stack.sql(counted)[0]["n"] == 10, seconds=WINDOW_SECONDS + WATERMARK_SECONDS + 90
    )
    assert stack.verify()["in windows still open"] == [0]


def test_the_segments_of_an_old_hour_are_compacted_and_keep_every_row(stack: Stack) -> None:
    vehicle, earlier = 5002, datetime.now(UTC) - timedelta(hours=3)
    reading = {"time": earlier.isoformat(timespec="milliseconds").replace("+00:00", "Z"), "entity": vehicle,
               "temp": 20.0, "humidity": 35.0, "vin": "X"}  # fmt: skip

    def of_that_hour() -> int:
        segments = (
            f"SELECT segment_id FROM sys.segments WHERE datasource = '{RAW}' AND is_published = 1"
            f" AND is_overshadowed = 0 AND \"start\" = '{earlier:%Y-%m-%dT%H}:00:00.000Z'"
        )
        return len(stack.sql(segments))

    producer = KafkaProducer(bootstrap_servers=stack.kafka)
    for seq in (1, 2):
        producer.send(RAW, json.dumps(reading | {"seq": seq}).encode(), partition=0).get(timeout=30)
        poll_until("the reading in Druid", lambda seq=seq: raw_rows_of(stack, vehicle) == seq, seconds=90)
        hand_over(stack)
        poll_until("its segment", lambda seq=seq: of_that_hour() == seq, seconds=120)
    producer.close()

    def compacted() -> bool:
        # As the coordinator does by itself every half hour; it has to have seen the segments.
        assert requests.post(f"{stack.router}/druid/coordinator/v1/compaction/compact", timeout=30).ok
        return of_that_hour() == 1

    poll_until("the segments to be one", compacted, seconds=120)
    poll_until("both readings in it", lambda: raw_rows_of(stack, vehicle) == 2, seconds=60)


def hand_over(stack: Stack) -> None:
    """Let Druid's task store what it holds of the raw topic, as it does every few minutes."""
    supervisor = f"{stack.router}/druid/indexer/v1/supervisor/{RAW}"
    assert requests.post(f"{supervisor}/taskGroups/handoff", json={"taskGroupIds": [0]}, timeout=30).ok


def stored_segments(stack: Stack) -> list[str]:
    url = f"{stack.router}/druid/coordinator/v1/metadata/datasources/{RAW}/segments"
    response = requests.get(url, timeout=30)  # 404 until the first is stored
    assert response.ok, response.text
    return list(response.json())


def raw_rows_of(stack: Stack, vehicle: int) -> int:
    return int(stack.sql(f'SELECT COUNT(*) AS n FROM "{RAW}" WHERE entity = {vehicle}')[0]["n"])


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
    before = processes(stack.folder)
    psutil.Process(before["historical"]).kill()
    poll_until(
        "the historical started again", lambda: processes(stack.folder)["historical"] != before["historical"], 30
    )
    poll_until("everything healthy again", lambda: stack.make("status").returncode == 0, 120)


def test_an_edit_that_the_open_windows_do_not_fit_is_named(stack: Stack) -> None:
    changed = stack.make("up", WINDOW_DURATION="20 seconds")
    assert changed.returncode != 0
    assert "window_duration has changed from 10 to 20" in changed.stdout
    assert "`make reset`" in changed.stdout
    assert "Traceback" not in changed.stdout
    back = stack.make("up", WATERMARK_DURATION="15 seconds", SCRIPT_DURATION="0")  # which changes no state
    assert back.returncode == 0, back.stdout


@pytest.mark.parametrize(
    ("removed", "words"),
    [
        ("pyspark", "Kafka holds the windows of another checkpoint"),
        ("kafka", "The job's checkpoint is of a Kafka log that is gone|was read from a topic that is gone"),
        ("druid/var/druid/segments", "segments of .* are not loaded"),
    ],
)
def test_what_does_not_fit_together_is_named(stack: Stack, removed: str, words: str) -> None:
    """A part of the data is removed by hand: the next start says so, and is good again when it is put back."""
    data, aside = stack.folder / "data" / removed, stack.folder / "aside"
    if removed == "pyspark":  # no other part has it open
        data.rename(aside)
        data.mkdir()
        kill_the_job(stack)
    else:
        if removed.endswith("segments"):
            poll_until("Druid's task", lambda: raw_rows(stack) > 0, seconds=120)
            hand_over(stack)
            poll_until("stored segments", lambda: stored_segments(stack), seconds=120)
        down = stack.make("down")
        assert down.returncode == 0, down.stdout
        data.rename(aside)
    if removed.endswith("segments"):  # or the historical would still have a copy
        shutil.rmtree(stack.folder / "data/druid/var/druid/segment-cache")
    up = stack.make("up", SCRIPT_DURATION="0")
    assert up.returncode != 0, up.stdout
    assert re.search(words, up.stdout), up.stdout
    assert "`make reset`" in up.stdout
    assert "Traceback" not in up.stdout
    if removed == "kafka":  # the broker writes to the new log
        assert stack.make("down").returncode == 0
    shutil.rmtree(data, ignore_errors=True)
    aside.rename(data)
    again = stack.make("up", SCRIPT_DURATION="0")
    assert again.returncode == 0, again.stdout
    if removed.endswith("segments"):  # the last of them: nothing got lost on the way
        stack.verify()


def test_reset_leaves_nothing(stack: Stack) -> None:
    assert (stack.folder / "data").exists()
    reset = stack.make("reset")
    assert reset.returncode == 0, reset.stdout
    assert not stack.folder.exists()
