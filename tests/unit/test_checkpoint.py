"""Spark's checkpoint: files as Spark writes them in, their content out."""

import json

import pytest
from windows_job import checkpoint

ID = "50484b23-1a2e-46cb-83d4-1e40b6ca8fe0"
OFFSETS = """v1
{"batchWatermarkMs":1795490910780,"batchTimestampMs":1795490960085,"conf":{"spark.sql.shuffle.partitions":"2"}}
{"sensor-data-control":{"0":1},"sensor-data-raw":{"0":7176,"1":6624}}"""
SETTINGS = {"window_duration": 60, "aggregations": ["count", "avg_temp"]}


class FakeFolder:
    """A checkpoint.Folder in memory; Hadoop's is in tests/integration/test_checkpoint_folder.py."""

    url = "hdfs://namenode/checkpoint"

    def __init__(self, files: dict[str, str] | None = None) -> None:
        self.files = files or {}

    def read(self, name: str) -> str:
        if name not in self.files:
            raise FileNotFoundError(name)
        return self.files[name]

    def write(self, name: str, text: str) -> None:
        self.files[name] = text

    def names(self, name: str) -> list[str]:
        folder = f"{name}/" if name else ""
        return sorted({each[len(folder) :].partition("/")[0] for each in self.files if each.startswith(folder)})

    def remove(self, name: str) -> None:
        self.files = {each: text for each, text in self.files.items() if not f"{each}/".startswith(f"{name}/")}


def commit(watermark: int) -> str:
    return f'v1\n{{"nextBatchWatermarkMs":{watermark}}}'


def test_the_query_is_the_one_of_the_metadata() -> None:
    assert checkpoint.query_id(FakeFolder()) is None
    assert checkpoint.query_id(FakeFolder({"metadata": f'{{"id":"{ID}"}}'})) == ID


def test_a_batch_has_a_watermark_and_the_offsets_it_ends_at() -> None:
    first = OFFSETS.replace("1795490910780", "0").replace("7176", "10")
    folder = FakeFolder({"offsets/0": first, "offsets/12": OFFSETS})
    assert checkpoint.batch(folder, 12) == (
        1795490910780,
        {"sensor-data-control": {"0": 1}, "sensor-data-raw": {"0": 7176, "1": 6624}},
    )
    assert checkpoint.batch(folder, 0) == (
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
def test_the_last_committed_batch(files: dict[str, str], expected: tuple[int, int]) -> None:
    assert checkpoint.last_committed(FakeFolder(files)) == expected


def test_the_next_watermark_is_that_of_the_batch_or_of_the_one_before_while_it_runs() -> None:
    folder = FakeFolder({"commits/8": commit(1), "commits/9": commit(2)})
    assert [checkpoint.next_watermark(folder, batch) for batch in (8, 9, 10, 11)] == [1, 2, 2, 0]


def test_a_checkpoint_of_the_same_settings_is_unchanged() -> None:
    folder = FakeFolder()
    assert checkpoint.changed_setting(folder, SETTINGS) is None
    folder.write("metadata", f'{{"id":"{ID}"}}')  # and now the query has started
    assert checkpoint.changed_setting(folder, SETTINGS) is None
    assert json.loads(folder.read("settings.json")) == SETTINGS


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
    now: dict[str, object], changed: tuple[str, object]
) -> None:
    folder = FakeFolder({"metadata": f'{{"id":"{ID}"}}', "settings.json": json.dumps(SETTINGS)})
    for _ in range(2):
        assert checkpoint.changed_setting(folder, SETTINGS | now) == changed


@pytest.mark.parametrize(
    "files",
    [
        {"settings.json": json.dumps({"window_duration": 30})},  # of a job that ended before its query started
        {"metadata": f'{{"id":"{ID}"}}'},  # of a job that didn't write its settings down yet
    ],
)
def test_where_nothing_is_known_of_open_windows_the_settings_are_taken(files: dict[str, str]) -> None:
    folder = FakeFolder(dict(files))
    assert checkpoint.changed_setting(folder, SETTINGS) is None
    assert json.loads(folder.read("settings.json")) == SETTINGS


@pytest.mark.parametrize("torn", ["", "v1\n", OFFSETS[:40], "\0" * 4096])
@pytest.mark.parametrize("name", ["metadata", "offsets/12", "commits/12", "settings.json"])
def test_a_torn_file_is_named(name: str, torn: str) -> None:
    files = {"metadata": f'{{"id":"{ID}"}}', "offsets/12": OFFSETS, "commits/12": commit(1)}
    folder = FakeFolder(files | {"settings.json": json.dumps(SETTINGS)} | {name: torn})
    with pytest.raises(checkpoint.DamagedCheckpoint, match=f"^{folder.url}/{name} is empty or damaged"):
        checkpoint.query_id(folder)
        checkpoint.check_newest_batch(folder)
        checkpoint.changed_setting(folder, SETTINGS)


def test_a_whole_checkpoint_is_accepted() -> None:
    checkpoint.check_newest_batch(FakeFolder())
    checkpoint.check_newest_batch(FakeFolder({"offsets/12": OFFSETS, "commits/12": commit(1)}))


def test_the_shuffle_partitions_are_those_that_spark_has_written_down() -> None:
    assert checkpoint.shuffle_partitions(FakeFolder()) is None
    two, five = OFFSETS, OFFSETS.replace('"2"', '"5"')
    assert checkpoint.shuffle_partitions(FakeFolder({"offsets/9": two, "offsets/10": five})) == 5


def test_columns_of_the_state_are_forgotten_and_nothing_else() -> None:
    kept = {"metadata": "", "state/0/0/1.delta": "", "state/0/_metadata/metadata": "", "state/0/0/_metadata/other": ""}
    schemas = {"state/0/0/_metadata/schema": "", "state/0/1/_metadata/schema/v2_0": ""}
    folder = FakeFolder(kept | schemas)
    checkpoint.forget_state_schema(folder)
    assert folder.files == kept
