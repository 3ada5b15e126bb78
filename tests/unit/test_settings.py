"""Settings: constants, environment variables that override them, and what is said about values that aren't allowed."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest
from service import settings
from service.settings import BadSetting, checked, from_constants, milliseconds


@dataclass(frozen=True, kw_only=True)
class Settings:
    number: int = settings.whole_number(minimum=1)
    pause: float = settings.seconds()
    part: float = settings.share()
    name: str = settings.text()
    window: str = settings.duration()
    trigger: str = settings.duration("millisecond")
    strict: bool = settings.boolean()
    kafka: str = settings.servers()


CONSTANTS = Settings(
    number=200,
    pause=5,
    part=0,
    name="a",
    window="1 minute",
    trigger="500 milliseconds",
    strict=True,
    kafka="kafka0:29092",
)


def test_the_constants_of_a_script_are_the_settings_of_their_names() -> None:
    script = {**vars(CONSTANTS), "logger": None}
    assert from_constants(Settings, script) == CONSTANTS
    assert from_constants(Settings, script | {"number": 7}) == dataclasses.replace(CONSTANTS, number=7)


def test_constants_stay_where_the_environment_overrides_none() -> None:
    assert checked(CONSTANTS, {"number": "7", "OTHER": "8"}) == CONSTANTS


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("NUMBER", "7", 7),
        ("PAUSE", "0.5", 0.5),
        ("PAUSE", "0", 0.0),
        ("PART", "1", 1.0),
        ("NAME", "b c", "b c"),
        ("WINDOW", "90 seconds", "90 seconds"),
        ("TRIGGER", "1 millisecond", "1 millisecond"),
        ("STRICT", "false", False),
        ("KAFKA", "a.b:9092, [::1]:9093", "a.b:9092, [::1]:9093"),
        ("STRICT", "True", True),
    ],
)
def test_the_environment_variable_in_capitals_overrides_a_constant(name: str, text: str, value: Any) -> None:
    overridden = getattr(checked(CONSTANTS, {name: text}), name.lower())
    assert (overridden, type(overridden)) == (value, type(value))


WHOLE, SECONDS, SHARE = "a whole number, 1 or more", "a number of seconds, 0 or more", "a share, 0 to 1"
SERVERS = 'one or more addresses, as in "localhost:9092", separated by commas'
TEXT = "a text that is not empty"
DURATION = 'a whole number above 0 and a unit (second, minute, hour or day), as in "90 seconds" or "1 minute"'


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        *(("NUMBER", value, WHOLE) for value in ("0", "-3", "2.5", "many", "", "nan", "inf")),
        *(("KAFKA", value, SERVERS) for value in ("", "foo", "foo:bar", "foo:", ":9092", "a:1;b:2", "http://a:9092")),
        *(("STRICT", value, "true or false") for value in ("", "no", "1")),
        *(("PAUSE", value, SECONDS) for value in ("-1", "nan", "inf", "15 minutes", "")),
        *(("PART", value, SHARE) for value in ("1.1", "-0.1", "nan", "5%")),
        *(("NAME", value, TEXT) for value in ("", " ")),
        *(
            ("WINDOW", value, DURATION)
            for value in ("", "1", "minute", "0 seconds", "-1 minute", "1.5 minutes", "1 fortnight", "9999 days")
        ),
        ("WINDOW", "500 milliseconds", DURATION),
        ("TRIGGER", "soon", DURATION.replace("(second", "(millisecond, second")),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_what_is(name: str, value: str, allowed: str) -> None:
    with pytest.raises(BadSetting) as raised:
        checked(CONSTANTS, {name: value})
    assert str(raised.value) == f"{name} (or {name.lower()}) is {value!r}: it must be {allowed}."


@pytest.mark.parametrize("value", [0, -1, 2.5, "many", None, float("inf")])
def test_a_constant_is_checked_as_well(value: Any) -> None:
    with pytest.raises(BadSetting, match="NUMBER .or number. is .*: it must be a whole number, 1 or more"):
        checked(dataclasses.replace(CONSTANTS, number=value), {})


@pytest.mark.parametrize(
    ("duration", "length"),
    [
        ("1 minute", 60_000),
        ("90 seconds", 90_000),
        (" 2  hours ", 7_200_000),
        ("1 day", 86_400_000),
        ("1 millisecond", 1),
    ],
)
def test_the_length_of_a_duration(duration: str, length: int) -> None:
    assert milliseconds(checked(CONSTANTS, {"TRIGGER": duration}).trigger) == length
