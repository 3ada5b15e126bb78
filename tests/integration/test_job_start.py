"""The job's start, by a real local Spark: what it refuses, and that it starts from any folder."""

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from records import FORM, aggregations
from repository import ROOT, run_script, windows_job_script
from service.settings import BadSetting
from windows_job import output
from windows_job.settings import Settings


def settings(**changed: Any) -> Settings:
    """The constants of pyspark.py with windows of a minute, some of them changed."""
    script = windows_job_script()
    constants = {name: getattr(script, name) for name in Settings.__dataclass_fields__}
    return Settings(**constants | {"window_duration": "1 minute"} | changed)


def begin(folder: Path) -> None:
    """As if a query had started on this checkpoint, with the settings of now."""
    output.check_open_windows(folder, settings(), aggregations())
    (folder / "metadata").write_text('{"id":"50484b23-1a2e-46cb-83d4-1e40b6ca8fe0"}')


def test_unchanged_settings_are_accepted(spark: SparkSession, tmp_path: Path) -> None:
    begin(tmp_path)
    output.check_open_windows(tmp_path, settings(), aggregations())
    # the same length in other words; and the watermark may change, as no window depends on it
    others = settings(window_duration="60 seconds", watermark_duration="1 second")
    output.check_open_windows(tmp_path, others, aggregations())


def test_another_window_length_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    begin(tmp_path)
    with pytest.raises(BadSetting, match="^window_duration changed from 60 to 30 seconds, but windows of the old kind"):
        output.check_open_windows(tmp_path, settings(window_duration="30 seconds"), aggregations())


def test_other_aggregations_are_refused(spark: SparkSession, tmp_path: Path) -> None:
    begin(tmp_path)
    usual, driest = aggregations(), F.min("humidity").alias("min_humidity")
    last = "max_by(humidity, recency) AS last_humidity"
    for others, difference in (
        ([*usual, driest], "added min(humidity) AS min_humidity"),
        (usual[:-1], f"removed {last}"),
        ([*usual[:-1], driest], f"added min(humidity) AS min_humidity; removed {last}"),
        (usual[::-1], "another order"),
    ):
        with pytest.raises(BadSetting, match=rf"^aggregations\(\) changed: {re.escape(difference)}, but windows"):
            output.check_open_windows(tmp_path, settings(), others)


def test_an_aggregation_of_an_unknown_column_is_named(spark: SparkSession) -> None:
    with pytest.raises(
        BadSetting, match=r"^aggregations\(\) uses speed, which is no field .*: the fields are time, entity"
    ):
        output.output_schema(spark, FORM, [*aggregations(), F.max("speed").alias("max_speed")])


def test_a_column_that_the_contract_lacks_is_named_and_the_other_way_round() -> None:
    schema = {"properties": {"window": {}, "count": {}}}
    output.check_contract(["window", "count"], schema)
    for columns, difference in (
        (["window", "count", "max_speed"], "computes max_speed, which it doesn't describe"),
        (["window"], "doesn't compute count, which it describes"),
    ):
        with pytest.raises(BadSetting, match=f"it {difference}. Run `make render`"):
            output.check_contract(columns, schema)


def test_the_job_ends_with_one_sentence_when_its_window_was_changed(tmp_path: Path, spark: SparkSession) -> None:
    begin(tmp_path)
    environment = {
        "WINDOW_DURATION": "30 seconds",
        "CHECKPOINT_LOCATION": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    if "JAVA_HOME" in os.environ:
        environment["JAVA_HOME"] = os.environ["JAVA_HOME"]
    result = run_script([sys.executable, str(ROOT / "pyspark/pyspark.py")], environment)
    assert result.returncode == 2, result.stderr
    [line] = [line for line in result.stderr.splitlines() if "window_duration" in line]
    assert line.endswith(
        " ERROR pyspark: window_duration changed from 60 to 30 seconds, but windows of the old kind are still open."
        " Change it back, or remove all data together and start again (`make reset`, or `docker compose down"
        " --volumes`)."
    )
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("folder", [ROOT, ROOT / "pyspark", Path("/")])
def test_it_starts_by_spark_submit_from_any_folder(spark: SparkSession, folder: Path) -> None:
    bin_folder = Path(sys.executable).parent
    environment = {"WINDOW_DURATION": "soon", "PATH": f"{bin_folder}:{os.environ['PATH']}", "PYTHONPATH": ""}
    submitted = [str(bin_folder / "spark-submit"), str(ROOT / "pyspark/pyspark.py")]
    result = run_script(submitted, environment, folder)
    assert result.returncode == 2
    said = result.stdout + result.stderr  # spark-submit puts both of a script's outputs on its standard output
    assert "ERROR pyspark: WINDOW_DURATION (or window_duration) is 'soon': it must be" in said
    assert "Traceback" not in said
