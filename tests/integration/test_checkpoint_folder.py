"""The checkpoint's folder by Hadoop's FileSystem, on this disk; on HDFS it is in tests/e2e/test_spark_cluster.py."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from records import reading
from stream import Stream
from windows_job import checkpoint
from windows_job.spark_internals import FileSystemError, HadoopFolder


@pytest.fixture(params=["a folder, [1] with 20 % of *", "plain"])
def folder(spark: SparkSession, tmp_path: Path, request: pytest.FixtureRequest) -> HadoopFolder:
    return HadoopFolder(spark, f"file://{tmp_path / request.param}")


def test_a_file_that_is_written_is_read_and_listed_and_removed(folder: HadoopFolder) -> None:
    assert folder.names("") == folder.names("missing") == []
    for text in ("old", "a text with é"):
        folder.write("settings.json", text)
        assert folder.read("settings.json") == text
    for number in range(12):
        folder.write(f"commits/{number}", "v1")
    assert sorted(folder.names("commits"), key=int) == [str(number) for number in range(12)]
    assert sorted(folder.names("")) == ["commits", "settings.json"]
    folder.remove("commits")
    folder.remove("missing")
    assert folder.names("") == ["settings.json"]
    with pytest.raises(FileNotFoundError):
        folder.read("commits/3")


def test_a_file_that_does_not_match_its_checksum_is_damaged(folder: HadoopFolder) -> None:
    folder.write("commits/3", 'v1\n{"nextBatchWatermarkMs":1}')
    assert checkpoint.last_committed(folder) == (3, 1)
    Path(folder.url.removeprefix("file://"), "commits/3").write_text('v1\n{"nextBatchWatermarkMs":2}')
    with pytest.raises(checkpoint.DamagedCheckpoint, match="commits/3 is empty or damaged"):
        checkpoint.last_committed(folder)


def test_what_spark_writes_is_read_whatever_the_number_of_files(stream: Stream) -> None:
    folder = HadoopFolder(stream.spark, stream.checkpoint.as_uri())
    assert checkpoint.query_id(folder) is checkpoint.shuffle_partitions(folder) is None
    stream.batch(reading("10:00:10.000", 1, 20.0))
    stream.batch(reading("10:04:10.000", 1, 20.0))
    assert checkpoint.query_id(folder)
    assert checkpoint.shuffle_partitions(folder) == 2
    newest = max(int(path.name) for path in stream.checkpoint.glob("commits/[0-9]*"))
    assert checkpoint.last_committed(folder)[0] == newest
    checkpoint.check_newest_batch(folder)


def test_a_folder_that_can_not_be_used_is_an_error_with_hadoops_reason(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for url, reason in (
        (f"file://{tmp_path}/file", "file"),
        (f"file://{tmp_path}/file/folder", "file"),
        ("unknown://host/folder", 'No FileSystem for scheme "unknown"'),
        ("s3a://bucket/folder", "S3AFileSystem"),
    ):
        with pytest.raises(FileSystemError, match=reason) as error:
            HadoopFolder(spark, url)
        assert "\n" not in str(error.value)
