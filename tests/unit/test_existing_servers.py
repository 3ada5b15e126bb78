"""Without Docker: servers that exist, which the stack uses and neither starts nor stops nor clears."""

from pathlib import Path

import pytest
from druid_router import USER, proxy
from kafka_client import KafkaClient, NoAccess
from local_stack import existing, manager, preflight, services, stop
from local_stack import folder as folders
from local_stack.errors import findings
from service.settings import BadSetting

EVERYTHING = {"CLUSTER": "1", "WITH_DASHBOARD": "1"}
KAFKA, DRUID = {"KAFKA_BOOTSTRAP_SERVERS": "kafka.test:1"}, {"DRUID_URL": "http://druid.test"}
REMEDY = "start that one, correct the address, or unset it."
SCRIPTS = ["topics", "supervisor-specs", "pyspark", "sensorgenerator"]
DRUID_SERVERS = ["coordinator", "broker", "historical", "indexer", "router"]


@pytest.mark.parametrize(
    ("environment", "servers"),
    [
        ({}, ["zookeeper", "kafka0", *DRUID_SERVERS]),
        (KAFKA, ["zookeeper", *DRUID_SERVERS]),
        (DRUID, ["kafka0"]),
        (KAFKA | DRUID, []),
    ],
)
def test_a_server_whose_address_is_set_is_not_started(environment: dict[str, str], servers: list[str]) -> None:
    rows = services.services(environment)
    assert [name for name, row in rows.items() if row.ports] == servers
    assert [name for name, row in rows.items() if not row.ports] == SCRIPTS


def test_only_what_this_machine_runs_is_checked_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "members", dict)
    for name in ("check_moved", "check_disk"):
        monkeypatch.setattr(preflight, name, lambda: None)
    monkeypatch.setattr(preflight.socket, "gethostname", lambda: "no-such-host.invalid")
    monkeypatch.setattr(preflight, "NEEDED_MEMORY", 1e18)
    monkeypatch.setattr(preflight, "NEEDED_WITHOUT_SERVERS", 0)
    monkeypatch.setattr(preflight, "check_port", lambda *_: pytest.fail("no server listens here"))
    assert findings(preflight.machine_checks(KAFKA | DRUID)) == {}
    monkeypatch.setattr(preflight, "check_port", lambda *_: None)
    name, memory = findings(preflight.machine_checks(KAFKA))
    assert "no-such-host" in name
    assert "GiB of memory" in memory


def test_servers_that_exist_and_do_not_answer_are_named_with_the_setting() -> None:
    environment = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "DRUID_URL": "http://127.0.0.1:1"}
    kafka, druid = findings(preflight.server_checks(environment))
    assert kafka.startswith("Kafka does not answer at 127.0.0.1:1 (")
    assert kafka.endswith(f"). KAFKA_BOOTSTRAP_SERVERS is set, so no Kafka is started here: {REMEDY}")
    assert druid == (
        "Druid does not answer at http://127.0.0.1:1 (it accepts no connection). DRUID_URL is set, so no Druid is"
        f" started here: {REMEDY}"
    )
    assert preflight.server_checks({}) == []


def test_a_druid_that_refuses_the_user_is_named_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("wrong")
    with proxy() as url:
        environment = {"DRUID_URL": url, "DRUID_USER": USER, "DRUID_PASSWORD_FILE": str(tmp_path / "password")}
        (sentence,) = findings(preflight.server_checks(environment))
    assert sentence.startswith(
        f"Druid at {url} does not accept the user {USER} with the password in {tmp_path}/password"
    )


def test_a_kafka_that_refuses_the_login_is_named_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(kafka: KafkaClient, _: float) -> None:
        raise NoAccess(f"Kafka at {kafka.servers} refuses the login.")

    monkeypatch.setattr(preflight, "await_access", refused)
    assert list(findings(preflight.server_checks(KAFKA))) == ["Kafka at kafka.test:1 refuses the login."]


def test_a_stack_can_be_stopped_after_the_file_with_kafkas_properties_was_removed(tmp_path: Path) -> None:
    environment = KAFKA | {"KAFKA_CLIENT_PROPERTIES": str(tmp_path / "missing")}
    with pytest.raises(BadSetting):
        services.services(environment)
    assert services.services(existing.without(environment)).keys() == services.services(EVERYTHING).keys()


def test_a_password_that_can_not_be_read_is_a_bad_setting(tmp_path: Path) -> None:
    environment = {"DRUID_USER": USER, "DRUID_PASSWORD_FILE": str(tmp_path / "missing")}
    found = findings(preflight.configuration_checks(environment))
    sentence = f"DRUID_PASSWORD_FILE is '{tmp_path}/missing': it can't be read (No such file or directory)."
    assert found[sentence] == 2


def test_the_path_of_the_users_files_does_not_depend_on_the_folder_of_a_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir("/tmp")
    row = services.ledger({"DRUID_PASSWORD_FILE": "password", "DRUID_CA_FILE": ""})
    assert row.variables["DRUID_PASSWORD_FILE"] == "/tmp/password"
    assert row.variables["DRUID_CA_FILE"] == ""
    assert services.services({"SPARK_CONF_DIR": "conf"})["pyspark"].variables["SPARK_CONF_DIR"] == "/tmp/conf"


def test_status_says_which_servers_are_not_the_stacks_own() -> None:
    assert existing.described({}) == ""
    assert existing.described(KAFKA | DRUID) == (
        "not this stack's: Kafka at kafka.test:1 (KAFKA_BOOTSTRAP_SERVERS) and Druid at http://druid.test (DRUID_URL)."
        " `make down` and `make reset` leave them and their data alone."
    )


def test_reset_removes_the_stacks_files_and_says_what_it_keeps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    removed: list[str] = []
    monkeypatch.setattr(folders, "LOCK", tmp_path / "stack.lock")
    monkeypatch.setattr(folders, "is_stack", lambda: True)
    monkeypatch.setattr(stop, "stop", lambda _: None)
    monkeypatch.setattr(stop, "remove", lambda rows: removed.extend(row.name for row in rows))
    stop.reset(DRUID | {"KAFKA_RAW_TOPIC": "fleet"})
    # What the stack's own servers left in its folder before is removed as well.
    assert removed == [*services.services(EVERYTHING), "verify"]
    assert capsys.readouterr().out == (
        "the files of this stack are removed. Kept, because these servers are not this stack's: the datasources"
        " sensor-data-raw, sensor-data-aggregated, sensor-data-rejected, sensor-data-late in Druid at http://druid.test."
        " A new start needs them empty: remove them there.\n"
    )
    stop.reset(KAFKA)
    assert "the topics sensor-data-raw, sensor-data-aggregated, " in capsys.readouterr().out
    stop.reset({})
    assert capsys.readouterr().out == "all data is removed; the next start is a first one\n"
