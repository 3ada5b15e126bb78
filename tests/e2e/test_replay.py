"""Destructive: a recording goes through the pipeline, and each of its windows is as pandas computes it."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from pipeline import AGGREGATED, RAW, WINDOW_SECONDS, Pipeline, poll_until
from repository import ROOT

pytestmark = pytest.mark.timeout(900)
TRUCKS, READINGS = 20, 2000
EXAMPLE = ROOT / "docs/recordings/trucks.csv"
MAPPING = """
[time]
column = "when"
format = "%d.%m.%Y %H:%M:%S"
zone = "America/New_York"

[entity]
column = "truck"

[signals.temp]
column = "outside"
unit = "°F"

[signals.humidity]
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recording: a file for each two trucks, sorted by truck, and its mapping."""
    folder, rng = tmp_path_factory.mktemp("recorded"), random.Random(20)
    start = datetime(2026, 3, 2, 8)
    for number in range(0, TRUCKS, 2):
        rows = ["truck,when,outside,humidity"]
        for truck in (number, number + 1):
            for _ in range(READINGS):
                when = start + timedelta(seconds=rng.randrange(4 * 3600))
                rows.append(
                    f"truck-{truck},{when:%d.%m.%Y %H:%M:%S},{rng.randrange(300, 900) / 10},{rng.randrange(101)}"
                )
        (folder / f"{number}.csv").write_text("\n".join(rows) + "\n")
    (folder / "map.toml").write_text(MAPPING)
    return folder


def expected(folder: Path) -> pd.DataFrame:
    """The windows of the recording by start and vehicle; the humidity only where one reading is the newest."""
    rows = pd.concat(map(pd.read_csv, sorted(folder.glob("*.csv"))))
    local = pd.to_datetime(rows["when"], format="%d.%m.%Y %H:%M:%S").dt.tz_localize("America/New_York")
    rows["time"] = local.dt.tz_convert("UTC")
    rows["temp"] = ((rows["outside"] - 32) / 1.8).round(6)
    rows["window"] = rows["time"].dt.floor(f"{WINDOW_SECONDS}s")
    windows = rows.groupby(["window", "truck"])["temp"].agg(["count", "mean", "min", "max"])
    newest = rows[rows["time"] == rows.groupby(["window", "truck"])["time"].transform("max")]
    humidity = newest.groupby(["window", "truck"])["humidity"].agg(["min", "max"])
    windows["humidity"] = humidity["max"].where(humidity["min"] == humidity["max"])
    return windows.sort_index()


def emitted(stack: Pipeline) -> pd.DataFrame:
    rows = pd.DataFrame(stack.sql(f'SELECT * FROM "{AGGREGATED}"'))
    rows["window"] = pd.to_datetime(rows["__time"]).astype("datetime64[ns, UTC]")
    return rows.set_index(["window", "entity"]).sort_index()


def test_a_recording_goes_through_in_order_and_its_windows_are_right(pipeline: Pipeline, recorded: Path) -> None:
    pipeline.started("reset")
    pipeline.started("up", SCRIPT_DURATION="0")
    printed = pipeline.started("replay", FILE=str(recorded), MAP=str(recorded / "map.toml"))
    number = TRUCKS * READINGS
    assert f"finished: {number} sent, {number} acknowledged, 0 failed" in printed
    figures = pipeline.closed()
    assert figures["records"] == figures["in_windows"] == number
    assert (figures["late"], figures["rejected"], figures["acknowledged"]) == (0, 0, number)
    windows = expected(recorded)
    poll_until("the windows in Druid", lambda: pipeline.rows(AGGREGATED) == len(windows), seconds=120)
    found = emitted(pipeline)
    assert list(found.index) == [(start, truck) for start, truck in windows.index]
    assert list(found["count"]) == list(windows["count"])
    assert list(found["min_temp"]) == list(windows["min"])
    assert list(found["max_temp"]) == list(windows["max"])
    # An average is rounded to hundredths.
    assert (found["avg_temp"].to_numpy() - windows["mean"].to_numpy()).__abs__().max() <= 0.005 + 1e-6
    known = windows["humidity"].notna().to_numpy()
    assert known.sum() > len(windows) * 0.9
    assert list(found["last_humidity"][known]) == list(windows["humidity"][known])


def test_the_same_recording_again_would_be_late_and_is_not_sent(pipeline: Pipeline, recorded: Path) -> None:
    before = pipeline.rows(RAW)
    again = pipeline.make("replay", FILE=str(recorded), MAP=str(recorded / "map.toml"))
    assert again.returncode == 2
    assert " ERROR sensorgenerator: The readings from 2026-03-02T13:0" in again.stdout
    assert " on would be late: the windows job has closed all windows that end by 2026-03-02T" in again.stdout
    assert pipeline.verify()["records"] == before


def test_shifted_to_the_present_it_goes_through_at_its_own_pace(pipeline: Pipeline, tmp_path: Path) -> None:
    rows = [f"{1_772_000_000 + second},van-1,{second},50" for second in range(12, -1, -1)]
    (tmp_path / "a.csv").write_text("\n".join(["time,entity,temp,humidity", *rows]))
    (tmp_path / "map.toml").write_text('[time]\nformat = "seconds"\n')
    before, start = pipeline.verify(), datetime.now(UTC)
    pipeline.started(
        "replay", FILE=str(tmp_path / "a.csv"), MAP=str(tmp_path / "map.toml"), REPLAY_TIMES="starts now",
        REPLAY_SPEED="1",
    )  # fmt: skip
    assert timedelta(seconds=12) < datetime.now(UTC) - start < timedelta(seconds=60)
    figures = pipeline.closed()
    assert figures["records"] - before["records"] == 13
    assert (figures["late"], figures["rejected"]) == (0, 0)
    assert len(figures["runs"]) - len(before["runs"]) == 1
    counted = pipeline.sql(
        f'SELECT SUM("count") AS n, MAX(max_temp) AS top FROM "{AGGREGATED}" WHERE entity = \'van-1\''
    )
    assert counted == [{"n": 13, "top": 12.0}]
