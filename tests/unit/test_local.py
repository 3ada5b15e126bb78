"""The mode without Docker: what it asks of a machine, and what its process manager is told."""

import configparser
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xmlrpc.client import Fault

import psutil
import pytest
import requests
from rooms import ROOT

import health
import install
import preflight
import services
import settings
import stack


def test_without_java_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="Java 17 or 21 is needed, and there is no java on the PATH: install it"):
        install.java()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(SystemExit, match=f"JAVA_HOME is {tmp_path}, but there is no bin/java in it"):
        install.java()


def test_another_java_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin/java"
    fake.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    fake.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(SystemExit, match="is version 11"):
        install.java()


def test_without_maven_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="there is no mvn on the PATH: install it"):
        install.maven()


def test_a_busy_port_is_named_with_its_owner_and_the_remedy() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            SystemExit, match=rf"Port {port}, which router needs, .*process \d+.*set ROUTER_PORT in \.env"
        ):
            preflight.check_port("router", "ROUTER_PORT", port)


@pytest.mark.parametrize("what", ["NEEDED_MEMORY", "NEEDED_DISK"])
def test_too_little_room_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str) -> None:
    monkeypatch.setattr(preflight, "STACK", tmp_path)
    monkeypatch.setattr(preflight, what, 1e18)
    with pytest.raises(SystemExit, match="GiB .* and the stack needs"):
        preflight.check({})


@pytest.fixture
def configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> configparser.ConfigParser:
    for name, path in (("STACK", tmp_path), ("CONFIGURATION", tmp_path / "conf"), ("SOCKET", tmp_path / "sock")):
        monkeypatch.setattr(services, name, path)
    monkeypatch.setenv("SCRIPT_DURATION", "60")
    services.write_configuration(services.services())
    config = configparser.ConfigParser(interpolation=None)
    config.read(tmp_path / "conf")
    return config


def test_an_override_goes_to_its_service_alone(configuration: configparser.ConfigParser) -> None:
    given = [
        name
        for name in configuration.sections()
        if 'SCRIPT_DURATION="60"' in configuration[name].get("environment", "")
    ]
    assert given == ["program:sensorgenerator"]


def test_every_server_listens_on_this_machine_only(configuration: configparser.ConfigParser) -> None:
    kafka = (services.STACK / "kafka.properties").read_text()
    assert "listeners=PLAINTEXT://127.0.0.1:" in kafka
    assert "clientPortAddress=127.0.0.1" in (services.STACK / "zookeeper.properties").read_text()
    common = (ROOT / "druid/cluster/_common/common.runtime.properties").read_text()
    assert "druid.host=127.0.0.1\ndruid.bindOnHost=true" in common


@pytest.mark.parametrize(
    ("edited", "restarted"),
    [
        ("kafka/server.properties", {"kafka0", "topics"}),
        (
            "druid/cluster/_common/common.runtime.properties",
            {"coordinator", "broker", "historical", "indexer", "router"},
        ),
        ("druid/cluster/query/broker/runtime.properties", {"broker"}),
        ("sensor-data-generator/producer.py", {"sensorgenerator"}),
    ],
)
def test_an_edit_changes_the_services_that_are_made_of_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, edited: str, restarted: set[str]
) -> None:
    for room in ("kafka", "druid", "sensor-data-generator"):
        shutil.copytree(ROOT / room, tmp_path / room)
    (tmp_path / "sensor-data-generator/.#producer.py").symlink_to("an.editors.lock")
    monkeypatch.setattr(services, "ROOT", tmp_path)
    monkeypatch.setattr(services, "STACK", tmp_path / "stack")

    def digests() -> dict[str, str]:
        return {name: services._digest(service.files) for name, service in services.services().items()}

    before = digests()
    assert digests() == before
    with (tmp_path / edited).open("a") as file:
        file.write("# edited\n")
    assert {name for name, digest in digests().items() if digest != before[name]} == restarted


def test_another_port_changes_the_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(services, "STACK", tmp_path)
    before = {name: services._digest(service.files) for name, service in services.services().items()}
    monkeypatch.setenv("KAFKA_PORT", "9999")
    monkeypatch.setenv("ZOOKEEPER_PORT", "2222")
    for name in ("kafka0", "zookeeper"):
        assert services._digest(services.services()[name].files) != before[name]


@pytest.mark.parametrize("value", ['"10 seconds"', "10\nseconds", "10 seconds # or so", "10;20"])
def test_an_override_that_the_process_manager_could_not_read_is_refused(
    configuration: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    monkeypatch.setenv("WINDOW_DURATION", value)
    with pytest.raises(SystemExit, match="2"):
        services.write_configuration(services.services())
    assert f"WINDOW_DURATION is {value!r}: it must not hold" in capsys.readouterr().err


def test_java_is_looked_for_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin/java"
    fake.write_text(f"#!/bin/sh\necho asked >> {tmp_path}/asked\necho 'version \"17.0\"' >&2\n")
    fake.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setattr(services, "STACK", tmp_path)
    services.java.cache_clear()
    services.services()
    services.java.cache_clear()
    assert (tmp_path / "asked").read_text() == "asked\n"


def test_a_shells_settings_for_another_spark_or_kafka_stay_out(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = {"SPARK_HOME", "SPARK_CONF_DIR", "PYSPARK_PYTHON", "KAFKA_OPTS", "PYTHONPATH", "PYTHONHOME"}
    for name in (*foreign, "SCRIPT_DURATION", "PYTHONUNBUFFERED"):
        monkeypatch.setenv(name, "1")
    assert not stack.inherited().keys() & (foreign | {"SCRIPT_DURATION"})
    assert {"PATH", "PYTHONUNBUFFERED"} <= stack.inherited().keys()


@pytest.fixture
def env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    monkeypatch.delenv("ROUTER_PORT", raising=False)
    return tmp_path / ".env"


@pytest.mark.parametrize("line", ["ROUTER_PORT=9999", 'ROUTER_PORT="9999"', "  ROUTER_PORT='9999'  "])
def test_a_port_may_be_quoted_as_for_compose(env_file: Path, line: str) -> None:
    env_file.write_text(f"# ports\n\n{line}\n")
    assert settings.env_file() == {"ROUTER_PORT": "9999"}


@pytest.mark.parametrize(
    "line",
    ["ROUTER_PORT=abc", "ROUTER_PORT=99999", "ROUTER_PORT=0", "ROUTER_PORT=", "ROUTER_PORT=9999 # mine", "ROUTER_PORT"],
)
def test_a_line_in_env_that_is_not_allowed_is_said(
    env_file: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    env_file.write_text(line)
    with pytest.raises(SystemExit, match="2"):
        settings.env_file()
    said = capsys.readouterr().err
    assert "ROUTER_PORT" in said and "it must be" in said and len(said.splitlines()) == 1


def test_a_port_in_the_environment_is_checked_as_well(monkeypatch: pytest.MonkeyPatch, env_file: Path) -> None:
    env_file.write_text("ROUTER_PORT=8888")
    monkeypatch.setenv("ROUTER_PORT", "abc")
    with pytest.raises(SystemExit, match="2"):
        settings.env_file()


def test_an_empty_stack_dir_is_none() -> None:
    # It would be the current folder, which `make reset` would then take for a stack's.
    said = subprocess.run(
        [sys.executable, "-c", "import settings; print(settings.STACK)"],
        cwd=ROOT / "local", env={"STACK_DIR": ""}, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert said.strip() == str(settings.LOCAL / "stack")


# --- installing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["status", "verify", "down", "reset"])
def test_a_verb_that_needs_a_stack_installs_nothing(tmp_path: Path, verb: str) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    made = subprocess.run(["make", "-C", str(tmp_path), verb, "PYTHON=false"], capture_output=True, text=True)
    assert made.returncode != 0
    assert "Nothing is installed yet: `make up`" in made.stderr


def test_packages_that_can_not_be_had_leave_those_that_are_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = tmp_path / "venv-before"
    before.mkdir()
    link = tmp_path / "venv"
    link.symlink_to("venv-before")
    for name, path in (("LOCAL", tmp_path), ("JARS", tmp_path / "jars"), ("VENV", before)):
        monkeypatch.setattr(install, name, path)
    monkeypatch.setattr(install, "maven", lambda: "mvn")

    def fail(what: str, _command: list[str]) -> None:
        sys.exit(f"{what} could not be installed")

    monkeypatch.setattr(install, "run", fail)
    with pytest.raises(SystemExit, match="could not be installed"):
        install.main()
    assert link.resolve() == before


def test_new_packages_leave_those_that_a_stack_may_run_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    link = tmp_path / "venv"
    link.mkdir()  # as it was once made
    for name in ("venv-a", "venv-b"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(install, "LOCAL", tmp_path)
        monkeypatch.setattr(install, "VENV", link.resolve())
        install.use(tmp_path / name)
        assert link.resolve() == tmp_path / name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["venv", "venv-a", "venv-b"]


def test_old_jars_don_t_stay_beside_new_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(install, "JARS", tmp_path / "jars")
    monkeypatch.setattr(install, "run", lambda *_: None)
    monkeypatch.setattr(install, "maven", lambda: "mvn")
    own, spark = tmp_path / "jars/kafka", tmp_path / "pyspark/jars"
    for target in (own, spark):
        target.mkdir(parents=True)
        (target / "old.jar").touch()
        install.install_jars("jars", tmp_path / "pom.xml", target)
    assert not list(own.iterdir())
    assert list(spark.iterdir())


# --- the verbs --------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A stack's folder as it is after `make down`."""
    folder = tmp_path / "stack"
    for name in ("data/kafka/log", "data/zookeeper", "data/druid/var", "data/pyspark/checkpoint", "logs"):
        (folder / name).mkdir(parents=True)
    for name in ("logs/kafka0.log", "logs/kafka0.log.1", "supervisord.conf", "kafka.properties", "data/druid/var/x"):
        (folder / name).touch()
    for name, path in (("STACK", folder), ("DATA", folder / "data"), ("LOGS", folder / "logs")):
        monkeypatch.setattr(stack, name, path)
    monkeypatch.setattr(stack, "states", dict)
    return folder


def test_reset_removes_what_the_stack_made(folder: Path) -> None:
    stack.reset()
    assert not folder.exists()
    stack.reset()


def test_reset_leaves_what_others_have_in_its_folder(folder: Path) -> None:
    (folder / "data/photos").mkdir()
    (folder / "letter.txt").touch()
    stack.reset()
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    assert left == ["data", "data/photos", "letter.txt"]


def test_reset_says_what_it_could_not_remove(folder: Path) -> None:
    (folder / "data/kafka/log").rmdir()
    (folder / "data/kafka").rmdir()
    (folder / "data/kafka").symlink_to(folder / "logs")
    with pytest.raises(SystemExit, match="Not all data could be removed .*symbolic link"):
        stack.reset()


class Answer:
    """Of Druid, to a query for a datasource that it doesn't know."""

    status_code, text = 400, "Object 'sensor-data-aggregated' not found (line [1], column [27])"

    def raise_for_status(self) -> None:
        raise requests.HTTPError("400")


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the windows job says of itself, after a minute of which no window is closed yet; Druid knows nothing."""
    offsets = {"sensor-data-raw": {"0": 60, "1": 40}, "sensor-data-control": {"0": 0}}
    progress = {"batch": 3, "window_seconds": 60, "watermark_seconds": 180, "offsets": offsets}
    progress["watermark"] = "2026-11-24T10:00:00.000Z"
    monkeypatch.setattr(health, "job_progress", lambda: progress)
    monkeypatch.setattr(health, "raw_offsets", lambda: (0, 100))
    monkeypatch.setattr(requests, "post", lambda *_, **__: Answer())
    return progress


def test_the_summary_needs_no_window_that_is_closed(
    job: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.summary()
    assert "rejected" not in capsys.readouterr().out
    monkeypatch.setattr(health, "open_windows", lambda: 200)
    monkeypatch.setattr(health, "rows", lambda name: 3 if name == health.REJECTED else 0)
    stack.summary()
    said = capsys.readouterr().out
    assert "200  windows still open; they close by themselves 255 s after the last reading" in said
    assert "3  records that are no readings" in said


def test_a_job_without_readings_has_caught_up(job: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "raw_offsets", lambda: (0, 0))
    job.clear()
    job.update(window_seconds=60, watermark_seconds=180)
    assert health.job_has_caught_up()


@pytest.mark.parametrize(
    ("newest", "watermark", "caught_up"),
    [
        ("10:03:00.000", "10:00:00.000", True),
        ("10:03:59.999", "10:00:00.000", True),  # it moves minute by minute
        ("10:04:00.000", "10:00:00.000", False),
        ("10:04:00.000", "10:01:00.000", True),
        ("10:04:00.000", "10:02:00.000", True),  # a silence has put it further
    ],
)
def test_a_job_has_caught_up_when_its_watermark_is_where_the_newest_reading_puts_it(
    job: dict[str, Any], monkeypatch: pytest.MonkeyPatch, newest: str, watermark: str, caught_up: bool
) -> None:
    job["watermark"] = f"2026-11-24T{watermark}Z"
    millis = datetime.fromisoformat(f"2026-11-24T{newest}Z").timestamp() * 1000
    monkeypatch.setattr(health, "number", lambda _: int(millis))
    assert health.job_has_caught_up() is caught_up


def clock(
    monkeypatch: pytest.MonkeyPatch, sleep: Callable[[float], None], monotonic: Callable[[], float] = time.monotonic
) -> None:
    """The time for stack.py only: threads of Py4J, from other tests, sleep as well."""
    monkeypatch.setattr(stack, "time", SimpleNamespace(sleep=sleep, monotonic=monotonic))


def test_late_and_malformed_records_are_no_reason_to_wait(monkeypatch: pytest.MonkeyPatch, job: dict[str, Any]) -> None:
    rows = {"sensor-data-raw": 93, "sensor-data-rejected": 7, "sensor-data-aggregated": 40}
    monkeypatch.setattr(health, "rows", rows.get)
    monkeypatch.setattr(health, "job_has_caught_up", lambda: True)
    # One more, by the readings in Druid, has late readings only and so was never emitted.
    monkeypatch.setattr(health, "windows_emitted", lambda: 40)
    clock(monkeypatch, lambda _: pytest.fail("it waits"))
    assert stack.wait_until_queryable(0)


@pytest.mark.parametrize("missing", ["sensor-data-raw", "sensor-data-rejected", "sensor-data-aggregated"])
def test_what_is_not_yet_in_druid_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, job: dict[str, Any], missing: str
) -> None:
    rows = {"sensor-data-raw": 93, "sensor-data-rejected": 7, "sensor-data-aggregated": 40}
    rows[missing] -= 1
    monkeypatch.setattr(health, "rows", rows.get)
    monkeypatch.setattr(health, "job_has_caught_up", lambda: True)
    monkeypatch.setattr(health, "windows_emitted", lambda: 40)

    waited = []

    def arrive(seconds: float) -> None:
        waited.append(seconds)
        rows[missing] += 1

    clock(monkeypatch, arrive)
    assert stack.wait_until_queryable(0)
    assert len(waited) == 1


def test_what_does_not_change_any_more_is_as_far_as_it_goes(
    monkeypatch: pytest.MonkeyPatch, job: dict[str, Any]
) -> None:
    now = [0.0]
    clock(monkeypatch, lambda seconds: now.__setitem__(0, now[0] + seconds), lambda: now[0])
    monkeypatch.setattr(health, "rows", lambda _: 1)
    monkeypatch.setattr(health, "job_has_caught_up", lambda: True)
    assert stack.wait_until_queryable(0)
    assert stack.UNCHANGED_LIMIT < now[0] < stack.CATCH_UP_LIMIT


def no_answer() -> None:
    raise health.Unhealthy("no answer")


def test_a_stack_that_is_stopped_meanwhile_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "states", dict)
    monkeypatch.setattr(health, "raw_offsets", no_answer)
    for wait in (stack.running, lambda: stack.wait_until_queryable(0)):
        with pytest.raises(SystemExit, match="^The stack was stopped.$"):
            wait()

    def stopping() -> None:
        raise Fault(6, "SHUTDOWN_STATE")

    monkeypatch.setattr(stack, "states", stopping)
    monkeypatch.setattr(sys, "argv", ["stack.py", "status"])
    with pytest.raises(SystemExit, match=r"refuses \(SHUTDOWN_STATE\): is another command stopping the stack"):
        stack.main()


def test_a_process_that_ends_while_it_is_looked_at_holds_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended(psutil.Process):
        def children(self, recursive: bool = False) -> list[psutil.Process]:
            raise psutil.NoSuchProcess(self.pid)

    monkeypatch.setattr(psutil, "Process", Ended)
    assert stack.rss(1) == stack.rss(0) == 0
