"""Recordings of each kind: the exact records, what can't be mapped, and the order."""

import gzip
import random
from pathlib import Path
from typing import Any

import duckdb
import pytest
from generator.replay import recording as recording_module
from generator.replay.errors import BadRecording, NoRoom
from generator.replay.problems import Problem
from generator.replay.recording import Recording
from recordings import SCHEMA, read

Records = list[tuple[str, dict[str, Any]]]

LONG = """
[time]
column = "Zeit"
format = "%d.%m.%Y %H:%M:%S"
zone = "Europe/Berlin"

[entity]
column = "Gerät"

[long]
signal = "Größe"
value = "Wert"

[signals.temp]
name = "T außen"
unit = "°F"

[signals.humidity]
name = "RH"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for recordings."""
    path = tmp_path / "recordings"
    path.mkdir()
    return path


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_csv_file_with_the_contracts_names_needs_no_mapping(folder: Path) -> None:
    file = write(
        folder / "a.csv",
        "entity,time,humidity,temp,seq,vin,note",
        "truck-7,2026-07-01T10:00:00Z,35,20.5,3,1HGCM82633A004352,x",
        "7.0,2026-07-01T12:00:00.123456+02:00,,-40,,,",
        '"a ""b"", c",2026-07-01 12:00:01.5+02,0,,,,',
    )
    summary, records = read(file)
    assert records == [
        ("truck-7", {"time": "2026-07-01T10:00:00.000Z", "entity": "truck-7", "temp": 20.5, "humidity": 35.0, "seq": 3,
                     "vin": "1HGCM82633A004352"}),
        ("7", {"time": "2026-07-01T10:00:00.123456Z", "entity": "7", "temp": -40.0}),
        ('a "b", c', {"time": "2026-07-01T10:00:01.500Z", "entity": 'a "b", c', "humidity": 0.0}),
    ]  # fmt: skip
    assert (summary.rows, summary.records, summary.entities, summary.problems) == (3, 3, 3, [])
    assert (summary.first, summary.last) == (1_782_900_000_000_000, 1_782_900_001_500_000)
    assert summary.unused_columns == ["note"]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_csv_as_other_systems_write_it(folder: Path, name: str) -> None:
    text = '\ufefftime;entity;temp;note\r\n2026-07-01T10:00:00Z;7;1;"a;\r\nb"\r\n2026-07-01T10:00:01Z;7;x;\r\n'
    data = text.encode()
    (folder / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    summary, records = read(folder / name)
    assert records == [("7", {"time": "2026-07-01T10:00:00.000Z", "entity": "7", "temp": 1.0})]
    # The line break in quotes isn't counted.
    assert summary.problems == [Problem("a value of temp that is not a number", 1, [f"{folder / name} line 3 ('x')"])]


def test_json_lines(folder: Path) -> None:
    file = write(
        folder / "a.jsonl",
        '{"time": "2026-07-01T10:00:01Z", "entity": 7, "temp": 20.50, "gps": {"lat": 1}, "a/b": 3}',
        "",
        '{"temp": "21", "entity": "truck ä", "time": "2026-07-01T10:00:00Z", "humidity": null}',
        '{"time": "2026-07-01T10:00:02Z", "entity": 9007199254740993, "a/b": 4, "temp": true}',
        '{"time": "2026-07-01T10:00:03Z", "entity": 7',
    )
    mapping = '[signals]\ntemp = {}\nspeed = {column = "a/b", unit = "mph"}\n'
    summary, records = read(file, mapping)
    assert records == [
        ("truck ä", {"time": "2026-07-01T10:00:00.000Z", "entity": "truck ä", "temp": 21.0}),
        ("7", {"time": "2026-07-01T10:00:01.000Z", "entity": "7", "temp": 20.5, "speed": 4.828032}),
        ("9007199254740993", {"time": "2026-07-01T10:00:02.000Z", "entity": "9007199254740993", "speed": 6.437376}),
    ]
    assert summary.rows == 4
    assert [str(problem) for problem in summary.problems] == [
        f"""1 row with a line that is not JSON: {file} line 5 ('{{"time": "2026-07-01T10:00:03Z", "entity": 7')""",
        f"1 row with a value of temp that is not a number: {file} line 4 ('true')",
    ]


def test_parquet_of_several_types(folder: Path) -> None:
    duckdb.sql(
        "COPY (SELECT TIMESTAMPTZ '2026-07-01 10:00:00+00' + INTERVAL (i) SECOND AS time, i AS entity,"
        f" 20.5::DECIMAL(5, 2) + i AS temp, 1.0::FLOAT AS humidity FROM range(2) t(i)) TO '{folder}/a.parquet'"
    )
    summary, records = read(folder / "a.parquet")
    assert records == [
        ("0", {"time": "2026-07-01T10:00:00.000Z", "entity": "0", "temp": 20.5, "humidity": 1.0}),
        ("1", {"time": "2026-07-01T10:00:01.000Z", "entity": "1", "temp": 21.5, "humidity": 1.0}),
    ]
    assert summary.problems == []


def test_a_long_recording_is_pivoted_and_what_cannot_be_mapped_is_named(folder: Path) -> None:
    file = write(
        folder / "a.csv",
        "Zeit;Gerät;Größe;Wert",
        "01.07.2026 12:00:00;truck-7;T außen;68",
        "01.07.2026 12:00:00;truck-7;RH;35",
        "01.07.2026 12:00:00;truck-7;RH;36",
        "01.07.2026 12:00:05;truck-7;T außen;",
        "01.07.2026 12:00:06;;T außen;50",
        "01.13.2026 12:00:00;truck-8;T außen;50",
        "01.07.2026 12:00:01;truck-8;T außen;hot",
        "01.07.2026 12:00:01;truck-8;door;1",
        "01.07.2026 12:00:02;truck-8;T außen;-40",
        ";truck-8;T außen;50",
        "too;few",
        "01.07.2026 12:00:03;truck-8;RH;nan",
    )
    summary, records = read(file, LONG)
    assert records == [
        ("truck-7", {"time": "2026-07-01T10:00:00.000Z", "entity": "truck-7", "temp": 20.0, "humidity": 36.0}),
        ("truck-8", {"time": "2026-07-01T10:00:02.000Z", "entity": "truck-8", "temp": -40.0}),
    ]
    assert [str(problem) for problem in summary.problems] == [
        f"1 row with a signal that is not mapped: {file} line 9 ('door')",
        f"1 row with a time that can't be read: {file} line 7 ('01.13.2026 12:00:00')",
        f"1 row with a value of humidity that is not a number: {file} line 13 ('nan')",
        f"1 row with a value of temp that is not a number: {file} line 8 ('hot')",
        f"1 row with no entity: {file} line 6",
        f"1 row with no time: {file} line 11",
        f"1 row with no value of a signal: {file} line 5",
        "1 row with more than one value of a signal at one time, of which the last counts: entity truck-7 at"
        " 2026-07-01T10:00:00.000Z",
        f"1 row with fewer columns than the header: {file} line 12 ('too;few')",
    ]
    assert summary.rows == 12


def test_of_a_value_that_is_there_twice_the_last_row_of_the_last_file_counts(folder: Path) -> None:
    long = '[long]\nsignal = "name"\nvalue = "value"\n[signals.temp]\n'
    row, other = "2026-07-01T10:00:00Z,7,temp", "2026-07-01T10:00:01Z,7,temp"
    write(folder / "a.csv", "time,entity,name,value", f"{other},1", f"{row},2", f"{row},3")
    for columns in ("time,entity,name,value", "time,entity,name,value,note"):  # read with a.csv, and apart from it
        write(folder / "b.csv", columns, *(f"{row},{number}{',' * columns.count('note')}" for number in (4, 5)))
        summary, records = read(folder, long)
        assert [record["temp"] for _, record in records] == [5, 1]
        assert [problem.count for problem in summary.problems] == [3]


def test_only_the_first_of_a_kind_of_problem_are_shown_and_all_are_counted(folder: Path) -> None:
    write(folder / "a.csv", "time,entity,temp", *[f"2026-07-01T10:00:00Z,{n},x{n}" for n in range(1000)])
    file = write(folder / "b.csv", "time,entity,temp", "2026-07-01T10:00:00Z,1,1")
    summary, records = read(folder)
    assert len(records) == 1
    first = folder / "a.csv"
    kind = "a value of temp that is not a number"
    assert summary.problems == [Problem(kind, 1000, [f"{first} line {n + 2} ('x{n}')" for n in range(3)])]
    write(file, "time,entity,temp", "2026-07-01T10:00:00Z,1,1", "2026-07-01T10:00:00Z,1,?")
    write(first, "time,entity,temp")
    assert read(folder)[0].problems == [Problem(kind, 1, [f"{file} line 3 ('?')"])]


@pytest.mark.parametrize(
    ("time", "texts"),
    [
        ('format = "seconds"', ("1782900000", "1782900001.5")),
        ('format = "milliseconds"', ("1782900000000", "1782900001500.0")),
        ('zone = "Europe/Berlin"', ("2026-07-01 12:00:00", "2026-07-01T12:00:01.500")),
        ('zone = "America/New_York"', ("2026-07-01T12:00:00+02:00", "2026-07-01 06:00:01.5")),
        ('format = "%m/%d/%Y %I:%M:%S.%f %p %z"', ("07/01/2026 12:00:00.0 PM +0200", "07/01/2026 10:00:01.5 AM +0000")),
    ],
)
def test_forms_of_times(folder: Path, time: str, texts: tuple[str, str]) -> None:
    file = write(folder / "a.csv", "t,entity,temp", *(f"{text},7,1" for text in texts))
    summary, records = read(file, f'[time]\ncolumn = "t"\n{time}\n')
    assert summary.problems == []
    assert [value["time"] for _, value in records] == ["2026-07-01T10:00:00.000Z", "2026-07-01T10:00:01.500Z"]


def test_a_time_without_a_zone_is_not_taken_for_utc(folder: Path) -> None:
    file = write(folder / "a.csv", "time,entity,temp", "2026-07-01 12:00:00,7,1", "2026-07-01 12:00:00Z,7,1")
    summary, records = read(file)
    assert len(records) == 1
    assert summary.problems == [Problem("a time without a zone", 1, [f"{file} line 2 ('2026-07-01 12:00:00')"])]


def test_milliseconds_that_are_taken_for_seconds_are_not_a_time(folder: Path) -> None:
    file = write(folder / "a.csv", "time,entity,temp", "1782900000000,7,1", "1782900000,7,1", "1e300,7,1", "-1e12,7,1")
    summary, records = read(file, '[time]\nformat = "seconds"\n')
    assert [value["time"] for _, value in records] == ["2026-07-01T10:00:00.000Z"]
    lines = [f"{file} line 2 ('1782900000000')", f"{file} line 4 ('1e300')", f"{file} line 5 ('-1e12')"]
    assert summary.problems == [Problem("a time that can't be read", 3, lines)]
    assert read(file, '[time]\nformat = "milliseconds"\n')[0].out_of_range == {"time": 2}


def test_units_become_the_contracts(folder: Path) -> None:
    file = write(folder / "a.csv", "time,entity,t,v,d,p", "2026-07-01T10:00:00Z,7,212,60,100,32")
    mapping = """
    [signals]
    temp = {column = "t", unit = "°F"}
    speed = {column = "v", unit = "mph"}
    odometer = {column = "d", unit = "miles"}
    tire_pressure = {column = "p", unit = "psi"}
    """
    values = {"temp": 100.0, "speed": 96.56064, "odometer": 160.9344, "tire_pressure": 220.632233}
    assert read(file, mapping)[1] == [("7", {"time": "2026-07-01T10:00:00.000Z", "entity": "7", **values})]


def test_values_out_of_range_are_sent_and_counted(folder: Path) -> None:
    file = write(folder / "a.csv", "time,entity,temp", "1999-12-31T23:59:59Z,7,60", "2000-01-01T00:00:00Z,7,60.1")
    summary, records = read(file)
    assert [value["temp"] for _, value in records] == [60.0, 60.1]
    assert summary.out_of_range == {"time": 1, "temp": 1}
    assert summary.problems == []


def test_the_order_of_the_rows_in_the_files_does_not_matter(folder: Path) -> None:
    rng = random.Random(1)
    rows = [
        (1_782_900_000 + second, f"truck-{truck}", rng.randrange(400) / 10)
        for second in range(0, 600, 7)
        for truck in range(20)
    ]
    rows += rng.choices(rows, k=20)  # duplicates, and readings of one time and vehicle
    rows += [(time, entity, temp + 1) for time, entity, temp in rows[:20]]

    def sent(name: str, those: list[tuple[int, str, float]], files: int = 1) -> Records:
        path = folder / name
        path.mkdir()
        size = -(-len(those) // files)
        for number in range(files):
            part = those[number * size : (number + 1) * size]
            write(path / f"{number}.csv", "time,entity,temp", *(",".join(map(str, row)) for row in part))
        return read(path, '[time]\nformat = "seconds"\n')[1]

    in_order = sent("in-order", sorted(rows))
    assert len(in_order) == len(rows)
    assert [value["time"] for _, value in in_order] == sorted(value["time"] for _, value in in_order)
    assert sent("by-device", sorted(rows, key=lambda row: row[1]), files=3) == in_order
    shuffled = sorted(rows, key=lambda row: row[0] // 60 + rng.random())
    assert shuffled != sorted(rows)
    assert sent("shuffled", shuffled) == in_order
    assert sent("random", rng.sample(rows, len(rows)), files=2) == in_order


def test_files_with_other_columns_and_of_other_kinds_are_merged(folder: Path) -> None:
    write(folder / "a.csv", "time,entity,temp", "2026-07-01T10:00:01Z,1,1")
    write(folder / "b.csv", "entity;humidity;time", "2;2;2026-07-01T10:00:00Z")
    write(folder / "it's [c].jsonl", '{"time":"2026-07-01T10:00:02Z","entity":3,"speed":3}')
    duckdb.sql(f"COPY (SELECT '2026-07-01T10:00:03Z' AS time, 4 AS entity, 4 AS temp) TO '{folder}/d.parquet'")
    write(folder / "readme.md", "# not a recording")
    values = [{key: v for key, v in value.items() if key != "time"} for _, value in read(folder)[1]]
    assert values == [
        {"entity": "2", "humidity": 2.0}, {"entity": "1", "temp": 1.0}, {"entity": "3", "speed": 3.0},
        {"entity": "4", "temp": 4.0},
    ]  # fmt: skip
    assert [key for key, _ in read(f"{folder}/*.csv")[1]] == ["2", "1"]


def test_in_a_loop_the_seq_of_the_recording_is_left_out(folder: Path) -> None:
    file = write(folder / "a.csv", "time,entity,temp,seq", "2026-07-01T10:00:00Z,7,1,5")
    assert read(file, with_seq=False)[1] == [("7", {"time": "2026-07-01T10:00:00.000Z", "entity": "7", "temp": 1.0})]


@pytest.mark.parametrize(
    ("lines", "mapping", "sentence"),
    [
        ([], "", "{file} is empty: its first line must name the columns."),
        (["time,entity,temp,temp"], "", "{file} has two columns with the name 'temp': rename one of them."),
        (["tme,entity,temp"], "", "{file} has no column 'time': did you mean 'tme'?"),
        (["time,device,temp"], "", "{file} has no column 'entity': there are 'time', 'device', 'temp'."),
        (
            ["time,entity,temperature"],
            "[signals]\ntemp = {column = 'Temperature'}",
            "The mapping {mapping} names the column 'Temperature', which the recording doesn't have: did you mean"
            " 'temperature'?",
        ),
        (
            ["time,entity,temp"],
            "[time]\nzone = 'Europe/Berln'",
            "zone of [time] in the mapping {mapping} is 'Europe/Berln': did you mean 'Europe/Berlin'?",
        ),
        (
            ["time,entity,temp"],
            "[time]\nformat = '%d.%q'\nzone = 'UTC'",
            "format of [time] in the mapping {mapping} is '%d.%q': Failed to parse format specifier %d.%q: Unrecognized"
            " format for strftime/strptime: %q.",
        ),
        (
            ["time,entity,x"],
            "",
            "{file} has no column of a signal (temp, humidity, speed, odometer, tire_pressure), but time, entity, x:"
            " name the columns in a mapping (REPLAY_MAP).",
        ),
    ],
)
def test_what_cannot_be_replayed_is_named(folder: Path, lines: list[str], mapping: str, sentence: str) -> None:
    file = folder / "a.csv"
    file.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(BadRecording) as raised:
        read(file, mapping)
    assert str(raised.value) == sentence.format(file=file, mapping=folder.parent / "mapping.toml")


def test_files_that_are_none_are_named(folder: Path) -> None:
    ends = ".csv, .jsonl or .parquet"
    for name, sentence in (
        ("", f"The folder {folder}/ has no recording in it: no file that ends in {ends}."),
        ("a.csv", f"{folder}/a.csv does not exist: REPLAY_FILE must name a file, a folder or a pattern of files."),
        ("*.csv", f"{folder}/*.csv does not exist: REPLAY_FILE must name a file, a folder or a pattern of files."),
        ("a.xlsx", f"{folder}/a.xlsx is no recording: the name of the file must end in {ends}."),
    ):
        if name.endswith("xlsx"):
            write(folder / name)
        with pytest.raises(BadRecording) as raised:
            read(f"{folder}/{name}")
        assert str(raised.value) == sentence
    with pytest.raises(BadRecording, match=f"^{folder}/a.parquet can't be read as Parquet: .*a.parquet"):
        read(write(folder / "a.parquet", "time,entity,temp"))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_a_file_that_cannot_be_read_is_named(folder: Path, name: str) -> None:
    (folder / name).symlink_to("/proc/self/mem")  # its first byte can't be read, by root either
    with pytest.raises(BadRecording) as raised:
        read(folder / name)
    assert str(raised.value) == f"{folder}/{name} can't be read: Input/output error."


def test_a_recording_larger_than_the_memory_is_sorted_on_the_disk(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_module, "THREADS", "1")
    entity = "'truck ' || hash(i) || repeat(chr(65 + (i % 26)::INTEGER), 400)"
    time = "TIMESTAMPTZ '2026-07-01 10:00:00+00' + INTERVAL ((i * 7919) % 300000) SECOND"
    select = f"SELECT {time} AS time, {entity} AS entity, 1 AS temp FROM range(300000) t(i)"
    duckdb.sql(f"COPY ({select}) TO '{folder}/a.parquet' (ROW_GROUP_SIZE 20000)")
    recording = Recording(str(folder), "", SCHEMA, folder.parent / "sorting")
    assert recording.read(memory_limit="100MB").records == 300_000
    times = [time for block in recording.blocks(shift=0) for time, _, _ in block]
    assert len(times) == 300_000
    assert times == sorted(times)
    recording.close()
    # The same without a place on the disk: so the memory was too small.
    recording = Recording(str(folder), "", SCHEMA, folder.parent / "sorting")
    (recording.folder / "temp").touch()
    with pytest.raises(NoRoom, match="^The recording can't be sorted in .*: free disk space there, or set "):
        recording.read(memory_limit="100MB")
    recording.close()
