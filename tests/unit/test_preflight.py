"""Without Docker: what is checked before anything starts."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from local_stack import manager, preflight
from local_stack.env_file import env_file
from local_stack.errors import NotAllowed, StackError, findings, refuse


@contextmanager
def busy_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_all_busy_ports_are_named_with_their_owner_and_the_remedy() -> None:
    with ExitStack() as free_again:
        ports = {name: free_again.enter_context(busy_port()) for name in ("ROUTER_PORT", "KAFKA_PORT")}
        environment = {name: str(port) for name, port in (free_ports() | ports).items()}
        with pytest.raises(StackError) as refused:
            preflight.check_ports(environment)
    kafka, router = refused.value.args
    for sentence, name, service in ((kafka, "KAFKA_PORT", "kafka0"), (router, "ROUTER_PORT", "router")):
        assert sentence.startswith(f"Port {ports[name]}, which {service} needs, is not available (")
        assert f"process {os.getpid()})" in sentence
        assert sentence.endswith(f"or set {name} in .env to another port.")


def free_ports() -> dict[str, int]:
    """A free port for each variable of .env."""
    names = [name for name in env_file({}) if name.endswith("_PORT")]
    with ExitStack() as ports:
        return {name: ports.enter_context(busy_port()) for name in names}


def test_the_ports_and_the_memory_of_a_stack_that_runs_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "NEEDED_MEMORY", 1e18)
    with busy_port() as port:
        environment = {"ROUTER_PORT": str(port)}
        for members, count in (({1: "router"}, 0), ({}, 2)):
            monkeypatch.setattr(manager, "members", lambda members=members: members)
            said = findings(preflight.machine_checks(environment))
            assert len([each for each in said if f"Port {port}," in each or "GiB of memory" in each]) == count


def test_a_host_name_that_does_not_resolve_is_named_with_the_line_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "localhost")
    preflight.check_host_name()
    monkeypatch.setattr(socket, "gethostname", lambda: "no-such-host.invalid")
    with pytest.raises(StackError, match=r"no-such-host\.invalid, can't be resolved .*`127\.0\.0\.1 no-such-host\.inv"):
        preflight.check_host_name()


def test_a_stack_with_segments_that_was_moved_is_named_with_the_link_that_helps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stack, before = tmp_path / "new name", tmp_path / "old"
    for name, path in (("STACK", stack), ("DATA", stack / "data"), ("SERVICES", stack / "services")):
        monkeypatch.setattr(preflight, name, path)
    preflight.check_moved()
    (stack / "services").mkdir(parents=True)
    (stack / "services/indexer.json").write_text(json.dumps({"environment": {"SENSOR_DATA_STACK": str(before)}}))
    (stack / "data/druid/var/druid/segments").mkdir(parents=True)
    preflight.check_moved()
    (stack / "data/druid/var/druid/segments/sensor-data-raw").touch()
    with pytest.raises(StackError, match=rf"was moved from {before} to {stack}.*ln -s '{stack}' {before}\)"):
        preflight.check_moved()
    before.symlink_to(stack)
    preflight.check_moved()


@pytest.mark.parametrize(
    ("what", "seen"), [("NEEDED_MEMORY", "of memory are free"), ("NEEDED_DISK", "are free on the")]
)
def test_too_little_memory_or_disk_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str, seen: str
) -> None:
    monkeypatch.setattr(preflight, "STACK", tmp_path / "not there yet")

    def check() -> None:
        if what == "NEEDED_MEMORY":
            preflight.check_memory(preflight.NEEDED_MEMORY)
        else:
            preflight.check_disk()

    monkeypatch.setattr(preflight, what, 0)
    check()
    monkeypatch.setattr(preflight, what, 1e18)
    with pytest.raises(StackError, match=f"GiB {seen} .*and the stack needs"):
        check()


def test_a_stale_contract_is_named_with_the_sentences_of_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    preflight.check_contract()
    failed = subprocess.CompletedProcess([], 1, stdout="", stderr="2026-11-26T00:08:04.123Z ERROR render: One.\nTwo.\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(StackError) as refused:
        preflight.check_contract()
    assert refused.value.args == ("One.", "Two.")


def test_a_bad_name_of_a_topic_and_a_bad_image_are_named() -> None:
    environment = {"KAFKA_RAW_TOPIC": "", "DRUID_IMAGE": "druid", "MAKEFLAGS": " -- XYZ=1"}
    found = findings(preflight.configuration_checks(environment))
    assert [sentence.partition(":")[0] for sentence in found] == [
        "DRUID_IMAGE, in .env or in the environment, is 'druid'",
        "KAFKA_RAW_TOPIC is ''",
        "XYZ is not a setting",
    ]
    assert set(found.values()) == {2}


def test_a_bad_setting_does_not_hide_what_else_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "members", dict)
    monkeypatch.setattr(preflight, "NEEDED_MEMORY", 1e18)
    found = findings(preflight.machine_checks({"KAFKA_RAW_TOPIC": ""}))
    assert len([each for each in found if each.startswith("KAFKA_RAW_TOPIC is ''") or "GiB of memory" in each]) == 2


def test_a_file_that_a_check_can_not_read_is_a_finding() -> None:
    def unreadable() -> None:
        raise PermissionError(13, "Permission denied", "derby.args")

    (sentence,) = findings([unreadable, unreadable])
    assert sentence.startswith("[Errno 13] Permission denied: 'derby.args'. Check who owns the file or folder")


def test_all_findings_are_one_error_and_each_is_there_once() -> None:
    def fail() -> None:
        raise StackError("One.", "Two.")

    def refused() -> None:
        raise NotAllowed("Two.", "Three.")

    refuse(findings([lambda: None]))
    found = findings([fail, refused, fail])
    assert found == {"One.": 1, "Two.": 1, "Three.": 2}
    with pytest.raises(NotAllowed) as error:
        refuse(found)
    assert str(error.value) == "One.\nTwo.\nThree."
    with pytest.raises(StackError) as error:
        refuse(findings([fail]))
    assert error.value.exit_code == 1


def test_the_data_of_one_broker_is_not_given_to_three_nor_the_other_way_round(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(preflight, "DATA", tmp_path)
    one, three = {"CLUSTER": "0"}, {"CLUSTER": "1"}
    elsewhere = three | {"KAFKA_BOOTSTRAP_SERVERS": "kafka.test:1"}
    for environment in (one, three):
        preflight.check_cluster(environment)  # there is no data
    for folder, fits, does_not, words in (
        ("kafka", one, three, "one broker: start it without CLUSTER, or"),
        ("kafka1", three, one, "three brokers: set CLUSTER=1, or"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "meta.properties").touch()
        preflight.check_cluster(fits)
        preflight.check_cluster(elsewhere)
        with pytest.raises(StackError, match=f"is of a Kafka with {words}"):
            preflight.check_cluster(does_not)


def test_a_cluster_needs_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "members", dict)
    monkeypatch.setattr(preflight, "NEEDED_FOR_CLUSTER", 1e18)
    monkeypatch.setattr(preflight, "check_port", lambda *_: None)
    said = [findings(preflight.machine_checks({"CLUSTER": value})) for value in ("0", "1")]
    assert [any("GiB of memory" in each for each in found) for found in said] == [False, True]
