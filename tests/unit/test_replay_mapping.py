"""The mapping of a recording: what a file can say, and the sentence for each mistake in it."""

from pathlib import Path

import pytest
from generator.replay.errors import BadRecording
from generator.replay.mapping import CONVERSIONS, read_mapping
from recordings import SCHEMA
from service.contract import Signal, signals, topics

SIGNALS = signals(SCHEMA)


def mapping(path: Path, content: str) -> str:
    path.write_text(content)
    return str(path)


def test_without_a_file_the_names_are_the_contracts() -> None:
    found = read_mapping("", SIGNALS)
    assert (found.time, found.time_format, found.zone, found.entity, found.long) == (
        "time",
        "iso",
        None,
        "entity",
        None,
    )
    assert [(each.signal.name, each.source, each.unit) for each in found.signals] == [
        ("temp", "temp", "°C"), ("humidity", "humidity", "%"), ("speed", "speed", "km/h"),
        ("odometer", "odometer", "km"), ("tire_pressure", "tire_pressure", "kPa"),
    ]  # fmt: skip
    assert not found.all_needed


def test_toml_and_json_are_the_same(tmp_path: Path) -> None:
    toml = '[time]\ncolumn = "t"\nformat = "%d.%m.%y"\nzone = "UTC"\n[long]\nsignal = "s"\n[signals.temp]\nname = "T"\n'
    json = """{"time": {"column": "t", "format": "%d.%m.%y", "zone": "UTC"}, "long": {"signal": "s"},
              "signals": {"temp": {"name": "T"}}}"""
    found = read_mapping(mapping(tmp_path / "a.toml", toml), SIGNALS)
    assert found.long
    assert (found.long.signal, found.long.value) == ("s", "value")
    other = read_mapping(mapping(tmp_path / "a.json", json), SIGNALS)
    assert vars(other) == {**vars(found), "path": other.path}


def test_every_unit_that_is_converted_to_is_one_of_the_contract() -> None:
    known = {each.unit for each in (*signals(topics()["raw"].schema), *SIGNALS)}
    assert set(CONVERSIONS) <= known


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            "time = [",
            "The mapping {path} is not valid TOML (Invalid value (at end of document)): correct it.",
        ),
        ("[tme]", "The mapping {path} has the unknown key 'tme': did you mean 'time'?"),
        (
            "[time]\ntimezone = 'UTC'",
            "[time] in the mapping {path} has the unknown key 'timezone': did you mean 'zone'?",
        ),
        (
            "[signals.temperature]",
            "[signals] in the mapping {path} has the unknown key 'temperature': there are 'temp',"
            " 'humidity', 'speed', 'odometer', 'tire_pressure'.",
        ),
        (
            "[signals.temp]\nunit = 'fahrenheit'",
            "unit of [signals.temp] in the mapping {path} is 'fahrenheit': it must be °C or °F.",
        ),
        (
            "[signals.humidity]\nunit = 'g/kg'",
            "unit of [signals.humidity] in the mapping {path} is 'g/kg': it must be %.",
        ),
        (
            "[signals.temp]\nname = 'T'",
            "[signals.temp] in the mapping {path} has the unknown key 'name': there are 'column', 'unit'.",
        ),
        ("[long]\nvalue = ''", "value of [long] in the mapping {path} is '': it must be a text that is not empty."),
        ("[entity]\ncolumn = 7", "column of [entity] in the mapping {path} is 7: it must be a text that is not empty."),
        ("signals = 'temp'", "[signals] in the mapping {path} is 'temp': it must be a table."),
        (
            "[time]\nformat = 'unix'",
            "format of [time] in the mapping {path} is 'unix': it must be iso, seconds, milliseconds, or a format of"
            ' strptime such as "%d.%m.%Y %H:%M:%S".',
        ),
        (
            "[time]\nformat = '%d.%m.%Y'",
            'format of [time] in the mapping {path} has no zone (%z): add zone, such as zone = "Europe/Berlin" or'
            ' zone = "UTC".',
        ),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, content: str, sentence: str) -> None:
    path = mapping(tmp_path / "map.toml", content)
    with pytest.raises(BadRecording) as raised:
        read_mapping(path, SIGNALS)
    assert str(raised.value) == sentence.format(path=path)


def test_a_mapping_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        BadRecording, match=f"^The mapping {tmp_path}/none.toml can't be read: No such file or directory.$"
    ):
        read_mapping(f"{tmp_path}/none.toml", SIGNALS)
    (tmp_path / "latin.toml").write_bytes("[time]\nzone = 'ä'".encode("latin-1"))
    with pytest.raises(BadRecording, match="latin.toml is not valid TOML .*utf-8.*: correct it.$"):
        read_mapping(f"{tmp_path}/latin.toml", SIGNALS)
    with pytest.raises(BadRecording, match=r"a.json is not valid JSON \(Expecting value: line 1 column 1 "):
        read_mapping(mapping(tmp_path / "a.json", "[time]"[6:] + "time"), SIGNALS)


def test_a_signal_of_an_unknown_unit_takes_its_own_only(tmp_path: Path) -> None:
    path = mapping(tmp_path / "map.toml", "[signals.co2]\nunit = 'ppb'")
    with pytest.raises(BadRecording, match="'ppb': it must be ppm.$"):
        read_mapping(path, [Signal("co2", "ppm", 0, 1, optional=True)])
