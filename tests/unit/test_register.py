"""register.py: what it registers, and the sentence and the exit code with which it ends."""

import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import register
from druid_router import proxy
from registration.druid import Refused
from registration_fakes import FakeDruid, supervisor
from repository import ROOT, assert_one_sentence, run_script
from service.contract import topics


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """register.main() can be called: Kafka has all topics, and errors go to caplog."""
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(register.log, "configure", lambda _: None)
    monkeypatch.setattr(register.supervisors, "topic_ids", lambda _, names: dict.fromkeys(names, "of now"))
    return caplog


def test_everything_is_registered(monkeypatch: pytest.MonkeyPatch, called: pytest.LogCaptureFixture) -> None:
    fake = FakeDruid(status={"payload": {"detailedState": "RUNNING"}}, loadstatus=None)
    monkeypatch.setattr(register, "Druid", lambda _: fake)
    monkeypatch.setenv("KAFKA_RAW_TOPIC", "fleet")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "broker:1")
    assert register.main() == 0
    posted = [body for path, _, body in fake.posted if path.endswith("/supervisor")]
    ingested = [topic for topic in topics({"KAFKA_RAW_TOPIC": "fleet"}).values() if topic.datasource]
    assert [body["spec"]["ioConfig"]["topic"] for body in posted] == [topic.name for topic in ingested]
    assert ingested[0].name == "fleet"
    assert posted[0]["spec"]["ioConfig"]["consumerProperties"] == {"bootstrap.servers": "broker:1"}
    assert posted[0]["context"] == {"kafka_topic_id": "of now"}
    compacted = [body["dataSource"] for path, _, body in fake.posted if path.endswith("/config/compaction")]
    assert compacted == [topic.datasource.name for topic in ingested if topic.datasource]


def test_without_druid_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch, called: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(register, "WAIT_FOR", 0)
    monkeypatch.setenv("DRUID_URL", "http://127.0.0.1:1")
    assert register.main() == 1
    assert called.messages == [
        "The supervisors are not registered: waited 0 s for Druid: Druid does not answer at"
        " http://127.0.0.1:1 (it accepts no connection): check DRUID_URL."
    ]


def test_a_druid_that_asks_for_a_user_ends_it_at_once(
    monkeypatch: pytest.MonkeyPatch, called: pytest.LogCaptureFixture
) -> None:
    with proxy() as url:
        monkeypatch.setenv("DRUID_URL", url)
        assert register.main() == 1
    assert called.messages == [
        f"Druid at {url} asks for a user and a password: set DRUID_USER and DRUID_PASSWORD_FILE."
    ]


def test_tasks_and_replicas_are_those_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, called: pytest.LogCaptureFixture
) -> None:
    def posted(**settings: str) -> set[tuple[int, int]]:
        fake = FakeDruid(status={"payload": {"detailedState": "RUNNING"}}, loadstatus=None)
        monkeypatch.setattr(register, "Druid", lambda _: fake)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        assert register.main() == 0
        specs = [body["spec"]["ioConfig"] for path, _, body in fake.posted if path.endswith("/supervisor")]
        return {(io["taskCount"], io["replicas"]) for io in specs}

    assert posted() == {(1, 1)}
    assert posted(DRUID_REPLICAS="2") == {(1, 2)}
    assert posted(DRUID_TASK_COUNT="3") == {(3, 2)}


def test_a_mismatch_ends_it_at_once_and_nothing_is_registered(
    monkeypatch: pytest.MonkeyPatch, called: pytest.LogCaptureFixture
) -> None:
    known = [supervisor("sensor-data-rejected", "of-before", context={"kafka_topic_id": "of before"})]
    fake = FakeDruid(supervisor=known)
    monkeypatch.setattr(register, "Druid", lambda _: fake)
    assert register.main() == 1
    [message] = called.messages
    assert message.startswith("Druid's sensor-data-rejected was read from a topic that was removed")
    assert fake.posted == []


def test_a_refused_spec_is_one_sentence(monkeypatch: pytest.MonkeyPatch, called: pytest.LogCaptureFixture) -> None:
    class RefusingDruid(FakeDruid):
        def ask(self, method: str, path: str, **options: Any) -> Any:
            if method == "POST":
                raise Refused("no such column")
            return super().ask(method, path, **options)

    monkeypatch.setattr(register, "Druid", lambda _: RefusingDruid())
    assert register.main() == 1
    assert called.messages == ["Druid refused a supervisor: no such column"]


def test_a_stale_spec_is_refused_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, called: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(register, "SPECS", tmp_path / "supervisor-specs")
    monkeypatch.setattr(register, "Druid", None)
    assert register.main() == 2
    assert called.messages == ["supervisor-specs/sensor-data-raw.json is missing: run `make render`."]


def test_a_setting_that_is_not_allowed() -> None:
    result = run_script([sys.executable, str(ROOT / "supervisor-specs/register.py")], {"DRUID_URL": ""})
    assert result.returncode == 2
    assert_one_sentence(result.stderr)
    assert result.stderr.endswith(
        "Z ERROR supervisor-specs: DRUID_URL (or druid_url) is '': it must be the URL of a server, as in"
        ' "http://router:8888", without a user or a password in it.\n'
    )
