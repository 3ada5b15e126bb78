"""doctor.py and its flow: with a fake Kafka and a fake Druid, and with servers that hang."""

import json
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from diagnosis import diagnose, druid_state, kafka_state, limit
from diagnosis.seen import Supervisor
from diagnosis.settings import Settings
from doctor_fakes import PROGRESS, RAW, REJECTED, RUNNING, TOKEN, TOPICS, FakeDruid, FakeKafka
from kafka.errors import KafkaError
from kafka_client import Properties
from repository import ROOT, assert_one_sentence, run_script
from service import state
from service.druid import Denied, NotReachable

import doctor

SCRIPT = str(ROOT / "doctor/doctor.py")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of a stack whose windows job has just reported; the looks follow each other at once."""
    monkeypatch.setattr(diagnose, "BETWEEN_LOOKS", 0)
    monkeypatch.setattr(diagnose.machine, "available_memory", lambda: 2**33)
    monkeypatch.setattr(diagnose.machine, "free_disk", lambda _: 2**33)
    path = tmp_path / "windows-job.json"
    state.write(path, {"offsets": {RAW: {"0": 50, "1": 50}}})
    return Settings(
        kafka_bootstrap_servers="kafka:1",
        kafka_client_properties=Properties(),
        kafka_transactional_id="",
        druid_url="http://druid",
        druid_user="",
        druid_password_file="",
        druid_ca_file="",
        windows_job_state_file=str(path),
    )


@pytest.fixture
def found(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns the findings of a run with these parts."""

    def found(kafka: Any = None, druid: Any = None) -> list[str]:
        monkeypatch.setattr(diagnose, "Kafka", kafka or FakeKafka())
        monkeypatch.setattr(diagnose, "Druid", druid or FakeDruid())
        return diagnose.diagnose(settings, TOPICS)

    return found


def test_a_healthy_stack_is_no_finding(found: Any) -> None:
    assert found() == []


def test_each_look_is_compared_with_the_other(found: Any) -> None:
    [open_transaction] = found(FakeKafka(hidden={RAW: 3}))[:1]
    assert open_transaction.startswith("An open transaction of the producer with the transactional id importer hides 3")
    behind = FakeDruid(places={RAW: {0: 50, 1: 40}})
    assert found(FakeKafka(), behind) == []  # the last offsets may be the ends of transactions
    [lag] = found(FakeKafka(unread=True), behind)
    assert lag.startswith("Supervisor sensor-data-raw lags by 10 offsets")


def test_a_job_that_does_not_read_on_is_named(found: Any, settings: Settings) -> None:
    state.write(settings.state_file, {"offsets": {RAW: {"0": 50, "1": 40}}})
    [lag] = found()
    assert lag.startswith("The windows job lags by 10 offsets and has finished no batch since 1970-01-01T00:00:01")


def test_where_a_job_was_that_has_ended_is_not_looked_at(found: Any, settings: Settings) -> None:
    state.write(settings.state_file, {"offsets": {RAW: {"0": 50, "1": 40}}})
    state.write(state.failure_file(settings.state_file), {"sentence": "It ends.", "exit_code": 2})
    [refused] = found()
    assert refused.startswith("The windows job has refused to start at ")


def test_the_newest_token_and_the_newest_rejected_records_are_looked_at(found: Any) -> None:
    token = TOKEN | {"totals": {"records": 100, "rejected": 30, "late": 20}}
    records = {PROGRESS: [TOKEN, token, {"foreign": 1}], REJECTED: [{"reason": "temp is missing"}]}
    rejected, late = found(FakeKafka(records=records))
    assert rejected.startswith('30% of all 100 records are rejected. The most frequent reasons of the newest: "temp')
    assert late.startswith("20% of all 100 records are late")


def test_without_kafka_the_rest_is_checked(found: Any, settings: Settings) -> None:
    settings.state_file.unlink()
    suspended = FakeDruid(found=FakeDruid().found | {RAW: Supervisor(RUNNING | {"suspended": True}, "id")})
    for error, words in (
        (kafka_state.NotReachable("refused"), "Kafka is not reachable at kafka:1 (refused)."),
        (kafka_state.NoAnswer(), "Kafka at kafka:1 accepts the connection but has not answered for 5 s"),
        (TimeoutError(), "Kafka is not reachable at kafka:1 (no connection within 15 s)."),
    ):

        def fail(_: str, error: Exception = error) -> None:
            raise error

        kafka, supervisor, job = found(fail, suspended)
        assert kafka.startswith(words)
        assert supervisor.startswith("Supervisor sensor-data-raw is suspended")
        assert job.startswith("The windows job has not reported yet")


@pytest.mark.parametrize("method", ["topics", "ends", "newest"])
def test_a_kafka_that_stops_answering_is_asked_no_more(found: Any, method: str) -> None:
    [finding] = found(FakeKafka(method))
    assert finding.startswith("Kafka answers at kafka:1, but not to every request (KafkaTimeoutError: no answer)")


@pytest.mark.parametrize(
    ("druid", "words"),
    [
        (
            FakeDruid("router", NotReachable("refused")),
            ["Druid's router is not reachable at http://druid (refused)."],
        ),
        (
            FakeDruid("servers", KeyError("server")),
            ["Druid's broker does not answer queries: 'server'."],
        ),  # an answer of another form
        (FakeDruid("router"), ["Druid's router at http://druid accepts the connection but does not answer: 503: no."]),
        (FakeDruid("broker servers"), ["Druid's broker does not answer queries: 503: no."]),
        (FakeDruid("servers"), ["Druid's broker does not answer queries: 503: no."]),
        (FakeDruid("supervisors"), ["Druid's coordinator, which runs the supervisors, does not answer: 503: no."]),
        (
            FakeDruid(silent=("c:3",), not_parsed={"sensor-data-late": 2}),
            ["Druid's historical at c:3 does not answer: 503: no."],
        ),
        (FakeDruid(silent=("a:1", "d:4")), ["Druid's coordinator at a:1 does not", "Druid's indexer at d:4 does not"]),
        (FakeDruid(types=[("b:2", "broker")]), [f"Druid has no {n}" for n in ("coordinator", "historical", "indexer")]),
        (FakeDruid(not_parsed={TOPICS["late"].name: 2}), ["Druid could not parse 2 records of sensor-data-late"]),
        # Of another cluster only the router is asked.
        (FakeDruid("servers offsets", own=False, silent=("c:3",)), []),
        (FakeDruid("broker", own=False), ["Druid's broker does not answer queries: 503: no. Look at that server"]),
        (
            FakeDruid("supervisors", own=False),
            ["Druid's overlord, which runs the supervisors, does not answer: 503: no"],
        ),
        *(
            (FakeDruid(method, Denied("no such user.")), ["no such user."])
            for method in ("router", "broker supervisors")
        ),
        (FakeDruid(silent=("c:3",), error=Denied("it asks for a user.")), ["it asks for a user."]),
        (FakeDruid("offsets"), []),
        (FakeDruid("stats"), []),
    ],
)
def test_what_druid_does_not_answer_is_named_once(found: Any, druid: FakeDruid, words: list[str]) -> None:
    findings = found(FakeKafka(), druid)
    assert [finding[: len(word)] for finding, word in zip(findings, words, strict=True)] == words


def test_a_topic_that_is_missing_is_passed_over_in_the_other_checks(found: Any) -> None:
    kafka = FakeKafka()
    for name in (RAW, PROGRESS, REJECTED):
        del kafka.found[name]
    assert found(kafka) == [
        f"Topics are missing in Kafka: {RAW}, {REJECTED}, {PROGRESS}. `make up` (`docker compose up`) creates them."
    ]


@pytest.fixture
def hanging() -> Iterator[str]:
    """The address of a server that accepts connections and never answers, as a stopped process does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_servers_that_hang_are_named_within_a_limit(
    settings: Settings, hanging: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (kafka_state, druid_state):
        monkeypatch.setattr(module, "TIMEOUT", 0.3)
    settings = replace(settings, kafka_bootstrap_servers=hanging, druid_url=f"http://{hanging}")
    kafka, druid = diagnose.diagnose(settings, TOPICS)
    assert kafka.startswith(f"Kafka at {hanging} accepts the connection but has not answered for 0.3 s")
    assert druid.startswith(
        f"Druid's router at http://{hanging} accepts the connection but does not answer: no answer within 0.3 s."
    )


def test_a_call_without_a_limit_of_its_own_gets_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(TimeoutError):
        limit.within(0.05, server.accept)
    assert limit.within(10, lambda: 7) == 7
    with pytest.raises(KafkaError, match="no answer"):
        limit.within(10, lambda: FakeKafka("topics").topics([]))


class SaysYes(BaseHTTPRequestHandler):
    """Another program, which answers every request with JSON."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"status": "ok"}')

    def log_message(self, *_: object) -> None:
        pass


def test_another_program_at_druids_address_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnose, "Kafka", FakeKafka())
    with HTTPServer(("127.0.0.1", 0), SaysYes) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        [finding] = diagnose.diagnose(replace(settings, druid_url=url), TOPICS)
        server.shutdown()
    assert finding.startswith(
        f"Druid's router at {url} accepts the connection but does not answer: it says that its health is"
        " {'status': 'ok'}. It hangs, or another program listens there. Restart it with `make down` and "
    )


def test_where_nothing_runs_it_says_so_without_a_traceback(tmp_path: Path) -> None:
    environment = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "DRUID_URL": "http://127.0.0.1:1"}
    environment["WINDOWS_JOB_STATE_FILE"] = str(tmp_path / "missing/windows-job.json")
    result = run_script([sys.executable, SCRIPT], environment)
    assert (result.returncode, result.stderr) == (1, "")
    starts = (
        "Kafka is not reachable at 127.0.0.1:1 (",
        "Druid's router is not reachable at http://127.0.0.1:1 (",
        "The windows job has not",
    )
    lines = [line for line in result.stdout.splitlines() if not line.startswith("Only ")]  # of this machine
    assert len(lines) == len(starts)
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True))


def test_a_setting_that_is_not_allowed_is_one_sentence() -> None:
    result = run_script([sys.executable, SCRIPT], {"KAFKA_BOOTSTRAP_SERVERS": "kafka"})
    assert (result.returncode, result.stdout) == (2, "")
    assert_one_sentence(result.stderr)
    assert (
        " ERROR doctor: KAFKA_BOOTSTRAP_SERVERS (or kafka_bootstrap_servers) is 'kafka': it must be " in result.stderr
    )


def test_findings_are_one_line_each_and_none_is_a_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor.log, "configure", lambda _: None)
    monkeypatch.setattr(doctor, "diagnose", lambda *_: ["One is wrong: do this.", "Another\nis wrong."])
    assert doctor.main() == 1
    assert capsys.readouterr().out == "One is wrong: do this.\nAnother is wrong.\n"
    monkeypatch.setattr(doctor, "diagnose", lambda *_: [])
    assert doctor.main() == 0
    assert capsys.readouterr().out == f"Nothing was found. Checked: {diagnose.CHECKED}.\n"


def test_what_the_job_has_ended_with_is_read_beside_its_state_file(tmp_path: Path) -> None:
    path = tmp_path / "windows-job.json"
    assert diagnose.job_report(path) == diagnose.JobReport(None, None)
    path.write_text("{")
    (tmp_path / "windows-job.failure.json").write_text(json.dumps({"sentence": "It ends."}))
    report = diagnose.job_report(path)
    assert (report.state, report.failure) == (None, {"sentence": "It ends."})
    assert report.unreadable
