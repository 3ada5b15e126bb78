"""The job's start, by a real local Spark: what it refuses, and that it starts from any folder."""

import os
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from records import FORM, aggregations, reading
from repository import ROOT, job_settings, run_script
from service.settings import BadSetting
from stream import Stream
from windows_job import output
from windows_job.settings import Settings
from windows_job.spark import is_state_damaged
from windows_job.spark_internals import HadoopFolder


def settings(**changed: Any) -> Settings:
    """The constants of pyspark.py with windows of a minute, some of them changed."""
    return job_settings(**{"window_duration": "1 minute"} | changed)


# The newest reading is of 10:00:20, and its window ends at 10:01:00.
HOUR = int(datetime.fromisoformat("2026-01-01T10:00:00Z").timestamp()) * 1000
TOKEN = {
    "batch_id": 3,
    "window_seconds": 60,
    "watermark_seconds": 180,
    "watermark": HOUR,
    "newest": HOUR + 20_000,
}
NONE_OPEN = TOKEN | {"watermark": HOUR + 60_000}


def begin(spark: SparkSession, path: Path, batch: int = 3) -> HadoopFolder:
    """As if a query had started on this checkpoint, with the settings of now, and had committed a batch."""
    folder = HadoopFolder(spark, path.as_uri())
    output.check_open_windows(folder, settings(), aggregations())
    folder.write("metadata", '{"id":"50484b23-1a2e-46cb-83d4-1e40b6ca8fe0"}')
    folder.write(f"commits/{batch}", 'v1\n{"nextBatchWatermarkMs":0}')
    return folder


def test_unchanged_settings_are_accepted(spark: SparkSession, tmp_path: Path) -> None:
    folder = begin(spark, tmp_path)
    output.check_open_windows(folder, settings(), aggregations(), TOKEN)
    # the same length in other words; and the watermark may change, as no window depends on it
    others = settings(window_duration="60 seconds", watermark_duration="1 second")
    output.check_open_windows(folder, others, aggregations(), TOKEN)


def test_another_window_length_is_refused_while_windows_are_open(spark: SparkSession, tmp_path: Path) -> None:
    folder = begin(spark, tmp_path)
    with pytest.raises(BadSetting) as error:
        output.check_open_windows(folder, settings(window_duration="30 seconds"), aggregations(), TOKEN)
    assert str(error.value).startswith(
        "window_duration changed from 60 to 30 seconds, but windows of the old kind are open up to"
        " 2026-01-01T10:01:00.000Z. Change it back and start again: when no reading has come for 250 seconds, no window"
        " is open, and the change is accepted. Or remove all data"
    )


def test_other_aggregations_are_refused_while_windows_are_open(spark: SparkSession, tmp_path: Path) -> None:
    folder = begin(spark, tmp_path)
    usual, driest = aggregations(), F.min("humidity").alias("min_humidity")
    last = "max_by(humidity, CASE WHEN isNotNull(humidity) THEN recency END) AS last_humidity"
    for others, difference in (
        ([*usual, driest], "added min(humidity) AS min_humidity"),
        (usual[:-1], f"removed {last}"),
        ([*usual[:-1], driest], f"added min(humidity) AS min_humidity; removed {last}"),
        (usual[::-1], "another order"),
    ):
        with pytest.raises(BadSetting, match=rf"^aggregations\(\) changed: {re.escape(difference)}, but windows"):
            output.check_open_windows(folder, settings(), others, TOKEN)


def test_a_change_is_taken_up_while_no_window_is_open(spark: SparkSession, tmp_path: Path) -> None:
    folder = begin(spark, tmp_path)
    shorter, fewer = settings(window_duration="30 seconds"), aggregations()[:-1]
    # a batch that Spark will repeat may have windows of the old kind
    with pytest.raises(BadSetting):
        output.check_open_windows(folder, shorter, fewer, NONE_OPEN | {"batch_id": 4})
    output.check_open_windows(folder, shorter, fewer, NONE_OPEN)
    output.check_open_windows(folder, shorter, fewer, TOKEN)  # it is no change any more
    with pytest.raises(BadSetting):
        output.check_open_windows(folder, settings(), aggregations(), TOKEN)


def test_an_aggregation_of_an_unknown_column_is_named(spark: SparkSession) -> None:
    with pytest.raises(
        BadSetting,
        match=r"^aggregations\(\) uses speed, which is no field .*: the fields are time, temp, humidity, seq, recency",
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


def test_damaged_state_is_recognized(stream: Stream) -> None:
    stream.batch(reading("10:00:10.000", 1, 20.0))
    deltas = [path for path in stream.checkpoint.glob("state/0/*/*.delta") if path.stat().st_size]
    assert deltas
    for path in deltas:
        path.write_bytes(path.read_bytes()[:10])
        (path.parent / f".{path.name}.crc").unlink(missing_ok=True)
    with pytest.raises(StreamingQueryException) as error:
        stream.batch(reading("10:00:20.000", 1, 20.0))
    assert is_state_damaged(error.value)


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


def test_other_users_of_the_machine_can_not_connect_to_spark(spark: SparkSession) -> None:
    assert spark.sparkContext.getConf().get("spark.authenticate") == "true"


def test_what_spark_submit_sets_wins_over_the_script(spark: SparkSession, tmp_path: Path) -> None:
    """The configuration of the session that the script starts when Spark has started the script."""
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path += [{str(ROOT / 'pyspark')!r}, {str(ROOT / 'tests')!r}, {str(ROOT / 'common')!r}]\n"
        "from repository import job_settings\n"
        "from windows_job.spark import spark_session\n"
        f"found = spark_session(job_settings(spark_conf_dir={str(tmp_path)!r})).sparkContext.getConf()\n"
        "names = 'master', 'app.name', 'sql.shuffle.partitions', 'ui.showConsoleProgress', 'sql.session.timeZone'\n"
        "print('found', *(found.get('spark.' + name) for name in names))\n"
    )
    defaults = (
        "spark.sql.shuffle.partitions 7\nspark.ui.showConsoleProgress true\nspark.sql.session.timeZone Asia/Tokyo\n"
    )
    (tmp_path / "spark-defaults.conf").write_text(defaults)
    bin_folder = Path(sys.executable).parent
    environment = {"PATH": f"{bin_folder}:{os.environ['PATH']}", "SPARK_CONF_DIR": str(tmp_path)}
    by_submit = run_script(
        [str(bin_folder / "spark-submit"), "--master", "local[1]", "--name", "it", str(script)], environment
    )
    assert "found local[1] it 7 true UTC" in by_submit.stdout, by_submit.stdout + by_submit.stderr
    by_python = run_script([sys.executable, str(script)], environment)
    assert "found local[2] sensor-data 7 true UTC" in by_python.stdout, by_python.stdout + by_python.stderr
