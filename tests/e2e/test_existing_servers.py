"""A stack without servers of its own, on those of another, whose Druid asks for a user and a password by TLS."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from druid_router import PASSWORD, USER, make_ca, make_certificate, proxy
from pipeline import AGGREGATED, PORTS, RAW, Pipeline, assert_every_window_is_right, new_pipeline
from repository import assert_one_sentence

pytestmark = pytest.mark.timeout(900)
SCRIPTS = {"topics", "supervisor-specs", "pyspark", "sensorgenerator"}


@dataclass
class Files:
    """Of the user: the password, another one, and the CA of Druid's certificate."""

    password: Path
    wrong: Path
    ca: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("files")
    found = Files(folder / "password", folder / "wrong", make_ca(folder))
    found.password.write_text(f"{PASSWORD}\n")
    found.wrong.write_text("not the one")
    return found


@pytest.fixture(scope="module")
def servers(pipeline: Pipeline) -> Iterator[Pipeline]:
    """A stack of which only the servers are used: its generator sends nothing, and its windows job is stopped.

    The job has committed an empty batch by then. Its token is where the other stack's job doesn't look.
    """
    pipeline.started("reset")
    pipeline.started("up", SCRIPT_DURATION="0", KAFKA_PROGRESS_TOPIC="progress-of-the-servers-stack")
    pipeline.manager().stopProcess("pyspark")
    yield pipeline
    pipeline.started("reset")  # the next file's stack begins anew


@pytest.fixture(scope="module")
def external(servers: Pipeline, files: Files) -> Iterator[Pipeline]:
    """A stack on these servers that has sent its readings. The proxy is all that it sees of Druid."""
    with proxy(servers.router, make_certificate(files.ca)) as url:
        made = new_pipeline(servers.folder.with_name(f"{servers.folder.name}-external"), PORTS)
        made.kafka, made.router = servers.kafka, servers.router  # what the tests look at
        made.environment |= {
            "KAFKA_BOOTSTRAP_SERVERS": servers.kafka,
            "DRUID_URL": url,
            "DRUID_USER": USER,
            "DRUID_PASSWORD_FILE": str(files.password),
            "DRUID_CA_FILE": str(files.ca),
        }
        made.started("reset")
        try:
            made.started("run")
            yield made
        finally:
            made.make("reset")


def test_only_our_own_services_run_and_the_ledger_closes(external: Pipeline, servers: Pipeline) -> None:
    assert set(external.processes()) <= SCRIPTS
    figures = external.closed()
    assert figures["records"] == external.acknowledged() > 0
    assert_every_window_is_right(servers.kafka, servers.router)


def test_status_and_doctor_go_through_the_proxy_too(external: Pipeline) -> None:
    status = external.started("status")
    assert f"not this stack's: Kafka at {external.kafka} (KAFKA_BOOTSTRAP_SERVERS) and Druid at https://" in status
    assert f"{RAW} RUNNING" in status
    doctor = external.make("doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert doctor.stdout.splitlines()[-1].startswith("Nothing was found. Checked: Kafka, ")


@pytest.mark.parametrize("verb", ["up", "verify", "doctor"])
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"DRUID_PASSWORD_FILE": "{wrong}"},
            "does not accept the user fleet with the password in {wrong}: check DRUID_U",
        ),
        (
            {"DRUID_USER": "", "DRUID_PASSWORD_FILE": ""},
            "asks for a user and a password: set DRUID_USER and DRUID_PASS",
        ),
        (
            {"DRUID_CA_FILE": ""},
            "is not valid for the public CAs (unable to get local issuer certificate): check",
        ),
    ],
)
def test_what_druid_refuses_is_one_sentence_and_changes_nothing(
    external: Pipeline, files: Files, verb: str, settings: dict[str, str], said: str
) -> None:
    before = external.processes()
    done = external.make(verb, **{name: value.format(wrong=files.wrong) for name, value in settings.items()})
    assert done.returncode != 0
    sentences = [line for line in done.stdout.splitlines() if said.format(wrong=files.wrong) in line]
    assert len(sentences) == 1, done.stdout
    assert_one_sentence(sentences[0])
    assert "Traceback" not in done.stdout
    assert PASSWORD not in done.stdout and "not the one" not in done.stdout
    assert external.processes() == before


def test_down_and_reset_leave_the_servers_and_their_data(external: Pipeline, servers: Pipeline) -> None:
    rows = servers.rows(RAW)
    external.started("down")
    assert external.verify()["records"] == rows  # it needs no stack that runs
    said = external.started("reset")
    assert "Kept, because these servers are not this stack's: the topics sensor-data-raw, " in said
    assert not (external.folder / "data").exists()
    assert {RAW, AGGREGATED} <= servers.topics()
    assert servers.rows(RAW) == rows > 0
