"""README.md and the architecture sketch state the defaults. After a change, the message says which sentence to edit."""

import re

import producer
import pytest
from repository import ROOT, windows_job_script
from service import contract
from service.settings import milliseconds

JOB = windows_job_script()
WINDOW, WATERMARK = (milliseconds(each) / 1000 for each in (JOB.window_duration, JOB.watermark_duration))
AHEAD = contract.topics()["raw"].schema["properties"]["time"]["x-seconds-ahead"]
READINGS = producer.num_entities * producer.script_duration / (producer.sensor_interval or 1)
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
README = " ".join((ROOT / "README.md").read_text().split())


def duration(seconds: float, words: bool = True) -> str:
    """Seconds as the README writes them: "four minutes and ten seconds", or with digits."""
    minutes, rest = divmod(seconds, 60)
    parts = []
    for number, unit in ((minutes, "minute"), (rest, "second")):
        if number or (unit == "second" and not parts):
            name = WORDS[int(number)] if words and number in range(len(WORDS)) else f"{number:g}"
            parts.append(f"{name} {unit}{'s' if number != 1 else ''}")
    return " and ".join(parts)


@pytest.mark.parametrize(
    ("seconds", "words", "digits"),
    [
        (250, "four minutes and ten seconds", "4 minutes and 10 seconds"),
        (60, "one minute", "1 minute"),
        (900, "15 minutes", "15 minutes"),
        (0.5, "0.5 seconds", "0.5 seconds"),
        (0, "zero seconds", "0 seconds"),
    ],
)
def test_a_duration_has_minutes_and_seconds(seconds: float, words: str, digits: str) -> None:
    assert (duration(seconds), duration(seconds, words=False)) == (words, digits)


@pytest.mark.parametrize(
    "sentence",
    [
        f"The first rows of `sensor-data-aggregated` follow after about {duration(WINDOW + WATERMARK)}.",
        f"By default, a window covers {duration(WINDOW)}, and the job emits it when a reading arrives that is at least"
        f" {duration(WATERMARK)} (the watermark duration) newer than the end of the window.",
        f"If no reading arrives on time for {duration(WINDOW + WATERMARK + AHEAD)}, the job closes the windows that are"
        " still open.",
        f"By default, each of {producer.num_entities:,} vehicles sends a reading every"
        f" {duration(producer.sensor_interval, words=False)} for {duration(producer.script_duration, words=False)}:"
        f" about {READINGS:,.0f} readings.",
    ],
)
def test_the_readme_states_the_defaults(sentence: str) -> None:
    assert sentence in README, f"README.md must say: {sentence}"


@pytest.mark.parametrize("text", [f"{JOB.window_duration}, per vehicle", f"watermark {JOB.watermark_duration}"])
def test_the_architecture_sketch_states_the_defaults(text: str) -> None:
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", (ROOT / "docs/architecture-sketch.svg").read_text())
    assert text in texts, f"docs/architecture-sketch.svg must say: {text}. Render it again, see CONTRIBUTING.md."
