"""The registration of the supervisors: specifications, waiting, and Druid's reasons."""

import json
from pathlib import Path

import pytest
import register
import requests
from rooms import ROOT

FOLDER = ROOT / "supervisor-specs"


def test_the_specifications_read_from_the_given_brokers() -> None:
    specs = register.load_specs(FOLDER, "broker:1")
    assert sorted(specs) == ["sensor-data-aggregated", "sensor-data-raw"]
    for spec in specs.values():
        assert spec["spec"]["ioConfig"]["consumerProperties"]["bootstrap.servers"] == "broker:1"


@pytest.mark.parametrize("text", ["{", "{}", '{"spec": []}', "[]"])
def test_a_file_that_is_no_specification_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(ValueError, match=r"mine\.json is not a Kafka supervisor specification"):
        register.load_specs(tmp_path, "broker:1")


def test_a_wait_ends_with_the_last_thing_seen() -> None:
    def never() -> None:
        raise register.NotThere("only smoke")

    with pytest.raises(TimeoutError, match="the fire not there after 0 s: only smoke"):
        register.wait_for("the fire", never, seconds=0)


def test_a_wait_ends_when_it_is_there() -> None:
    answers = iter([register.NotThere("not yet"), None])

    def soon() -> str:
        if answer := next(answers):
            raise answer
        return "here"

    assert register.wait_for("it", soon, seconds=5) == "here"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (json.dumps({"errorMessage": "bad spec", "error": "druidException"}), "bad spec"),
        (json.dumps({"error": "no such column"}), "no such column"),
        ("plain words", "plain words"),
        ("", "Bad Request"),
    ],
)
def test_the_reason_is_druids_own(body: str, expected: str) -> None:
    response = requests.Response()
    response.status_code, response.reason, response._content = 400, "Bad Request", body.encode()
    assert register.reason(response) == expected


def test_no_druid_ends_it_with_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register, "WAIT_FOR", 0)
    monkeypatch.setattr(register, "check_topics", lambda *_: None)
    monkeypatch.setenv("DRUID_URL", "http://127.0.0.1:1")
    with pytest.raises(
        SystemExit, match=r"The supervisors could not be registered: Druid not there after 0 s: no answer"
    ):
        register.main()
