"""verify.py: its settings, its errors and its result file, with Kafka and Druid faked."""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import verify
from druid_router import USER, proxy
from ledger_fakes import ALL, LESS, PROGRESS, RAW, FakeDruid, closing, token
from reconciliation import topics
from repository import ROOT, assert_one_sentence, run_script

SCRIPT = str(ROOT / "ledger/verify.py")


def test_the_script_ends_with_one_sentence() -> None:
    result = run_script([sys.executable, SCRIPT], {"WAIT": "soon"})
    assert result.returncode == 2
    assert_one_sentence(result.stderr)
    assert result.stderr.endswith(
        "Z ERROR verify: WAIT (or wait) is 'soon': it must be a number of seconds, 0 or more.\n"
    )


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Path]:
    """verify.main() can be called: logs go to caplog, and the result to this file."""
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(verify.log, "configure", lambda _: None)
    result = tmp_path / "results/verify.json"
    monkeypatch.setenv("RESULT_FILE", str(result))
    monkeypatch.setenv("LEDGER_STATE_FILE", str(tmp_path / "state/ledger.json"))
    yield result
    assert not list(result.parent.glob("*.new"))


@pytest.mark.parametrize("given", ["", "-1", "nan", "inf"])
def test_a_wait_that_is_not_allowed(
    given: str, called: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WAIT", given)
    assert verify.main() == 2
    assert caplog.messages == [f"WAIT (or wait) is {given!r}: it must be a number of seconds, 0 or more."]


def test_the_result_is_printed_for_people_and_written_for_programs(
    called: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verify, "KafkaTopics", lambda _: closing())
    monkeypatch.setattr(verify, "Druid", lambda _: FakeDruid(LESS))
    assert verify.main() == 3
    sentence = "Still under way: Druid has 1 row left to read; WAIT=60 waits for them."
    assert capsys.readouterr().out.endswith(f"  out of order                         0\n\n{sentence}\n")
    result = json.loads(called.read_text())
    assert (result["closes"], result["exit_code"], result["sentence"]) == (False, 3, sentence)
    assert (result["figures"]["records"], result["figures"]["druid"]["readings"]) == (2, 1)

    monkeypatch.setattr(verify, "Druid", lambda _: FakeDruid(ALL))
    assert verify.main() == 0
    result = json.loads(called.read_text())
    assert (result["closes"], result["exit_code"]) == (True, 0)
    assert result["sentence"].startswith("The ledger closes: 2 records = ")


def test_without_a_result_file_nothing_is_written(
    called: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RESULT_FILE")
    monkeypatch.setattr(verify, "KafkaTopics", lambda _: closing())
    monkeypatch.setattr(verify, "Druid", lambda _: FakeDruid(ALL))
    assert verify.main() == 0
    assert not called.parent.exists()


def test_a_result_file_that_cant_be_written_is_refused_before_anything_is_read(
    called: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RESULT_FILE", str(tmp_path / "file/verify.json"))
    assert verify.main() == 2
    assert "RESULT_FILE (or result_file) is" in caplog.text
    assert "can't be written" in caplog.text


def test_it_goes_on_from_its_state_unless_a_full_run_is_asked_for(
    called: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kafka, state = closing(), tmp_path / "state/ledger.json"
    monkeypatch.setattr(verify, "KafkaTopics", lambda _: kafka)
    monkeypatch.setattr(verify, "Druid", lambda _: FakeDruid(ALL))

    def verified_before() -> int:
        assert verify.main() == 0
        return int(json.loads(called.read_text())["figures"]["verified_before"])

    assert [verified_before(), verified_before(), kafka.raw_reads] == [0, 2, 2]
    monkeypatch.setenv("FULL", "1")
    assert [verified_before(), kafka.raw_reads] == [0, 4]
    monkeypatch.delenv("FULL")
    state.write_text(state.read_text()[:-5])
    caplog.set_level(logging.WARNING)
    assert [verified_before(), verified_before()] == [0, 2]
    assert caplog.messages == [
        f"The state of the last verification can't be used: {state} is damaged. All records are read again."
    ]


def test_a_ledger_that_does_not_close_leaves_the_state(
    called: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka, state = closing(), tmp_path / "state/ledger.json"
    monkeypatch.setattr(verify, "KafkaTopics", lambda _: kafka)
    monkeypatch.setattr(verify, "Druid", lambda _: FakeDruid(LESS))
    assert verify.main() == 3  # Kafka is verified, only Druid has rows left to read
    before = state.read_text()
    kafka.values[RAW].append(b"neither valid nor rejected")
    kafka.values[PROGRESS].append(token(3, 10, records=1))
    assert [verify.main(), verify.main()] == [1, 1]
    assert state.read_text() == before


def test_a_state_that_cant_be_written_does_not_change_the_verdict(
    called: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LEDGER_STATE_FILE", str(tmp_path / "file/ledger.json"))
    monkeypatch.setattr(verify, "KafkaTopics", lambda _: closing())
    monkeypatch.setattr(verify, "Druid", lambda _: FakeDruid(ALL))
    caplog.set_level(logging.WARNING)
    assert verify.main() == 0
    [can_not_be_read, can_not_be_written] = caplog.messages
    assert "can't be read" in can_not_be_read
    assert "ledger.json': it can't be written (" in can_not_be_written


def test_without_kafka_it_is_one_sentence(
    called: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(topics, "CONNECT_TIMEOUT", 0.2)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    assert verify.main() == 1
    [error] = [record.getMessage() for record in caplog.records if record.name == "verify"]
    assert error.startswith("The ledger can't be computed: Kafka at 127.0.0.1:1: ")
    result = json.loads(called.read_text())
    assert (result["closes"], result["exit_code"], result["sentence"], result["figures"]) == (False, 1, error, {})


def test_a_wrong_password_ends_it_before_a_topic_is_read(
    called: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(verify, "KafkaTopics", lambda _: None)
    (tmp_path / "password").write_text("wrong")
    with proxy() as url:
        for name, value in (("URL", url), ("USER", USER), ("PASSWORD_FILE", str(tmp_path / "password"))):
            monkeypatch.setenv(f"DRUID_{name}", value)
        assert verify.main() == 1
    [error] = [record.getMessage() for record in caplog.records if record.name == "verify"]
    assert error.startswith(f"The ledger can't be computed: Druid at {url} does not accept the user {USER} with the ")


def test_a_password_that_is_missing_is_refused_before_anything_is_asked(
    called: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DRUID_USER", "fleet")
    assert verify.main() == 2
    assert caplog.messages[-1].startswith("DRUID_USER is 'fleet' and DRUID_PASSWORD_FILE is '': set both, or none")


def test_without_druid_it_is_one_sentence(
    called: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(verify, "KafkaTopics", lambda _: closing())
    monkeypatch.setenv("DRUID_URL", "http://127.0.0.1:1")
    assert verify.main() == 1
    [error] = [record.getMessage() for record in caplog.records if record.name == "verify"]
    assert error == (
        "The ledger can't be computed: Druid does not answer at http://127.0.0.1:1 (it accepts no connection):"
        " check DRUID_URL."
    )


def test_druids_tls_is_not_taken_for_kafkas(
    called: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(verify, "KafkaTopics", lambda _: closing())
    with proxy() as url:  # without TLS
        monkeypatch.setenv("DRUID_URL", url.replace("http:", "https:"))
        assert verify.main() == 1
    [error] = [record.getMessage() for record in caplog.records if record.name == "verify"]
    assert error.startswith("The ledger can't be computed: Druid at https://")
