"""Spark's checkpoint: files as Spark writes them in, their content out."""

import json
from pathlib import Path

import pytest
from windows_job import checkpoint

ID = "50484b23-1a2e-46cb-83d4-1e40b6ca8fe0"
OFFSETS = """v1
{"batchWatermarkMs":1795490910780,"batchTimestampMs":1795490960085,"conf":{"spark.sql.shuffle.partitions":"2"}}
{"sensor-data-control":{"0":1},"sensor-data-raw":{"0":7176,"1":6624}}"""
SETTINGS = {"window_duration": 60, "aggregations": ["count", "avg_temp"]}


def written(folder: Path, files: dict[str, str]) -> Path:
    """A checkpoint of these files, each with the checksum that Hadoop puts beside it."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        (path.parent / f".{path.name}.crc").write_bytes(b"crc\x00\x00\x00\x02\x00")
    return folder


def commit(watermark: int) -> str:
    return f'v1\n{{"nextBatchWatermarkMs":{watermark}}}'


def test_the_query_is_the_one_of_the_metadata(tmp_path: Path) -> None:
    assert checkpoint.query_id(tmp_path) is None
    assert checkpoint.query_id(written(tmp_path, {"metadata": f'{{"id":"{ID}"}}'})) == ID


def test_a_batch_has_a_watermark_and_the_offsets_it_ends_at(tmp_path: Path) -> None:
    first = OFFSETS.replace("1795490910780", "0").replace("7176", "10")
    written(tmp_path, {"offsets/0": first, "offsets/12": OFFSETS})
    assert checkpoint.batch(tmp_path, 12) == (
        1795490910780,
        {"sensor-data-control": {"0": 1}, "sensor-data-raw": {"0": 7176, "1": 6624}},
    )
    assert checkpoint.batch(tmp_path, 0) == (
        0,
        {"sensor-data-control": {"0": 1}, "sensor-data-raw": {"0": 10, "1": 6624}},
    )


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, (-1, 0)),
        ({"offsets/0": OFFSETS}, (-1, 0)),  # the first batch is not committed yet
        ({"commits/0": commit(0)}, (0, 0)),
        ({"commits/8": commit(1), "commits/9": commit(2), "commits/10": commit(3)}, (10, 3)),
        ({"commits/9": commit(2), "commits/.10.ee7c3f4a.tmp": commit(3), "offsets/10": OFFSETS}, (9, 2)),
    ],
)
def test_the_last_committed_batch(tmp_path: Path, files: dict[str, str], expected: tuple[int, int]) -> None:
    assert checkpoint.last_committed(written(tmp_path, files)) == expected


def test_a_checkpoint_of_the_same_settings_is_unchanged(tmp_path: Path) -> None:
    assert checkpoint.changed_setting(tmp_path, SETTINGS) is None
    written(tmp_path, {"metadata": f'{{"id":"{ID}"}}'})  # and now the query has started
    assert checkpoint.changed_setting(tmp_path, SETTINGS) is None
    assert json.loads((tmp_path / "settings.json").read_text()) == SETTINGS


@pytest.mark.parametrize(
    ("now", "changed"),
    [
        ({"window_duration": 30}, ("window_duration", 60)),
        ({"aggregations": ["count"]}, ("aggregations", ["count", "avg_temp"])),
        ({"aggregations": ["avg_temp", "count"]}, ("aggregations", ["count", "avg_temp"])),
        ({"window_duration": 30, "aggregations": []}, ("window_duration", 60)),
        ({"one_that_is_new": 1}, ("one_that_is_new", None)),
    ],
)
def test_the_first_changed_setting_is_named_however_often_it_is_asked(
    tmp_path: Path, now: dict[str, object], changed: tuple[str, object]
) -> None:
    written(tmp_path, {"metadata": f'{{"id":"{ID}"}}', "settings.json": json.dumps(SETTINGS)})
    for _ in range(2):
        assert checkpoint.changed_setting(tmp_path, SETTINGS | now) == changed


@pytest.mark.parametrize(
    "files",
    [
        {"settings.json": json.dumps({"window_duration": 30})},  # of a job that ended before its query started
        {"metadata": f'{{"id":"{ID}"}}'},  # of a job that didn't write its settings down yet
    ],
)
def test_where_nothing_is_known_of_open_windows_the_settings_are_taken(tmp_path: Path, files: dict[str, str]) -> None:
    assert checkpoint.changed_setting(written(tmp_path, files), SETTINGS) is None
    assert json.loads((tmp_path / "settings.json").read_text()) == SETTINGS


@pytest.mark.parametrize("torn", ["", "v1\n", OFFSETS[:40], "\0" * 4096])
@pytest.mark.parametrize("name", ["metadata", "offsets/12", "commits/12", "settings.json"])
def test_a_torn_file_is_named(tmp_path: Path, name: str, torn: str) -> None:
    files = {"metadata": f'{{"id":"{ID}"}}', "offsets/12": OFFSETS, "commits/12": commit(1)}
    written(tmp_path, files | {"settings.json": json.dumps(SETTINGS)} | {name: torn})
    with pytest.raises(checkpoint.DamagedCheckpoint, match=f"^{tmp_path / name} is empty or damaged"):
        checkpoint.query_id(tmp_path)
        checkpoint.check_newest_batch(tmp_path)
        checkpoint.changed_setting(tmp_path, SETTINGS)


def test_a_whole_checkpoint_is_accepted(tmp_path: Path) -> None:
    checkpoint.check_newest_batch(tmp_path)
    checkpoint.check_newest_batch(written(tmp_path, {"offsets/12": OFFSETS, "commits/12": commit(1)}))
