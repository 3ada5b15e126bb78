"""The registration of the supervisors: specifications, waiting, and Druid's reasons."""

import json
from pathlib import Path
from typing import Any

import pytest
import register
import requests
from rooms import ROOT, assert_one_sentence

FOLDER = ROOT / "supervisor-specs"


def test_the_specifications_read_from_the_given_brokers() -> None:
    specs = register.load_specs(FOLDER, "broker:1")
    assert sorted(specs) == ["sensor-data-aggregated", "sensor-data-raw", "sensor-data-rejected"]
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


def test_a_wait_since_the_last_change_goes_on_while_something_changes() -> None:
    left = iter([3, 2, 1, 1, 1, 1, 1])

    def check() -> None:
        raise register.NotThere(f"{next(left)} left")

    with pytest.raises(TimeoutError, match="1 left"):  # half a second each
        register.wait_for("it", check, seconds=0.8, since_change=True)
    assert len(list(left)) == 2


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
    monkeypatch.setattr(register, "topic_ids", lambda *_: {})
    monkeypatch.setenv("DRUID_URL", "http://127.0.0.1:1")
    with pytest.raises(
        SystemExit, match=r"The supervisors could not be registered: Druid not there after 0 s: no answer"
    ):
        register.main()


def supervisor(name: str, **spec: Any) -> dict[str, Any]:
    """As Druid lists one with `full`."""
    return {"id": name, "state": "RUNNING", "healthy": True, "suspended": False, "spec": {"type": "kafka", **spec}}


@pytest.mark.parametrize(
    "known",
    [
        [],
        [supervisor("mine")],  # registered before ids were kept
        [supervisor("mine", context=None)],
        [supervisor("mine", context={"other": 1})],
        [supervisor("mine", context={"kafka_topic_id": "one"})],
        [supervisor("another", context={"kafka_topic_id": "two"})],
    ],
)
def test_a_supervisor_of_the_same_topic_or_of_none_fits(
    monkeypatch: pytest.MonkeyPatch, known: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(register, "ask", lambda *_, **__: known)
    register.check_fit("mine", "one")


def test_a_supervisor_of_a_topic_that_was_made_anew_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [supervisor("another"), supervisor("mine", context={"kafka_topic_id": "two"})]
    monkeypatch.setattr(register, "ask", lambda *_, **__: known)
    with pytest.raises(register.DoesNotFit, match="Druid's mine was read from a topic that is gone") as error:
        register.check_fit("mine", "one")
    assert_one_sentence(str(error.value))


def test_a_specification_is_posted_with_its_topics_id(monkeypatch: pytest.MonkeyPatch) -> None:
    posted: list[dict[str, Any]] = []
    monkeypatch.setattr(register, "ask", lambda *_, **options: posted.append(options["json"]))
    register.register({"type": "kafka"}, "one")
    register.register({"type": "kafka", "context": {"priority": 5}}, "one")
    assert [spec["context"] for spec in posted] == [
        {"kafka_topic_id": "one"},
        {"priority": 5, "kafka_topic_id": "one"},
    ]


def test_a_datasource_is_compacted_when_late_readings_are_unlikely(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, Any]] = []
    monkeypatch.setattr(register, "ask", lambda method, path, json: asked.append((method, path, json)))
    register.compact("mine")
    wanted = {"dataSource": "mine", "skipOffsetFromLatest": "PT1H"}
    assert asked == [("POST", "/druid/coordinator/v1/config/compaction", wanted)]


@pytest.mark.parametrize("left", [None, {"mine": 0}])
def test_loaded_segments_are_fine(monkeypatch: pytest.MonkeyPatch, left: dict[str, int] | None) -> None:
    monkeypatch.setattr(register, "ask", lambda *_, **__: left)
    register.check_segments("mine")


def test_segments_whose_files_are_gone_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register, "ask", lambda *_, **__: {"mine": 5})
    with pytest.raises(register.NotThere, match="5 segments of mine are not loaded; if their files were removed"):
        register.check_segments("mine")


def test_a_topic_made_anew_ends_it_at_once_and_nothing_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(method: str, path: str, **_: Any) -> Any:
        assert method == "GET"
        if path.endswith("/workers"):
            return ["one"]
        return [supervisor("sensor-data-aggregated", context={"kafka_topic_id": "of before"})]

    monkeypatch.setattr(register, "topic_ids", lambda _, topics: dict.fromkeys(topics, "of now"))
    monkeypatch.setattr(register, "ask", ask)
    with pytest.raises(SystemExit, match="Druid's sensor-data-aggregated was read from a topic that is gone"):
        register.main()
