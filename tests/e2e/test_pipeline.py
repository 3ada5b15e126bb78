"""A run from the generator to Druid's console, on the real Kafka, Spark and Druid, without Docker."""

import re
import shutil
import subprocess
import tempfile

import pytest
import requests
from pipeline import AGGREGATED, RAW, SETTINGS, Pipeline, assert_every_window_is_right
from service import contract

pytestmark = pytest.mark.timeout(900)
DATASOURCES = {topic.datasource.name for topic in contract.topics().values() if topic.datasource}


def test_make_run_ends_by_itself_with_the_counts_and_nothing_is_lost(stack: Pipeline) -> None:
    before, sent_before = stack.closed(), stack.acknowledged()
    printed = stack.started("run")
    assert "Traceback" not in printed
    for words in ("all healthy", "readings in Kafka", "windows still open", "/unified-console.html"):
        assert words in printed
    assert stack.generator()["state"] == "finished"
    sent = stack.acknowledged() - sent_before
    assert sent > 1000
    # Nobody sends any more: the open windows close when no reading came for the window plus the watermark duration.
    after = stack.closed()
    for name in ("records", "in_windows"):
        assert after[name] - before[name] == sent
    for system in ("kafka", "druid"):
        for name in ("readings", "readings_in_windows"):
            assert after[system][name] - before[system][name] == sent
    for name in ("late", "out_of_order", "duplicates", "in_none"):
        assert after[name] == before[name]
    assert_every_window_is_right(stack.kafka, stack.router)


def test_druid_has_every_vehicle_with_its_vin(stack: Pipeline) -> None:
    vehicles = int(SETTINGS["NUM_ENTITIES"])
    [row] = stack.sql(
        f'SELECT COUNT(DISTINCT entity) AS e, COUNT(DISTINCT vin) AS v FROM "{RAW}"'
        f" WHERE CAST(entity AS BIGINT) BETWEEN 1 AND {vehicles}"
    )
    assert row == {"e": vehicles, "v": vehicles}


def test_the_supervisors_are_running(stack: Pipeline) -> None:
    for name in DATASOURCES:
        status = requests.get(f"{stack.router}/druid/indexer/v1/supervisor/{name}/status", timeout=30).json()["payload"]
        assert (status["state"], status["healthy"]) == ("RUNNING", True)


def test_every_datasource_will_be_compacted(stack: Pipeline) -> None:
    known = requests.get(f"{stack.router}/druid/coordinator/v1/config/compaction", timeout=30).json()
    assert {each["dataSource"] for each in known["compactionConfigs"]} == DATASOURCES


def test_status_is_healthy(stack: Pipeline) -> None:
    assert "NOT HEALTHY" not in stack.started("status")


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_the_console_shows_the_raw_and_the_aggregated_datasource(stack: Pipeline) -> None:
    console = requests.get(f"{stack.router}/unified-console.html", timeout=30)
    assert console.ok, console.text
    assert "<script" in console.text
    if not CHROMIUM:
        pytest.skip("the console is served; its views can't be checked, as Chromium is not installed")
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


def test_a_second_up_changes_nothing(stack: Pipeline) -> None:
    stack.started("up")
    before, rows = stack.processes(), stack.rows(RAW)
    stack.started("up")
    assert stack.processes() == before
    assert stack.rows(RAW) >= rows
