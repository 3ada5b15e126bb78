"""Without Docker: what is checked before anything starts."""

import json
import socket
from pathlib import Path

import pytest
from local_stack import preflight
from local_stack.errors import StackError


def test_a_busy_port_is_named_with_its_owner_and_the_remedy() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            StackError, match=rf"Port {port}, which router needs, .*process \d+.*set ROUTER_PORT in \.env"
        ):
            preflight.check_port("router", "ROUTER_PORT", port)


def test_a_host_name_that_does_not_resolve_is_named_with_the_line_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "localhost")
    preflight.check_host_name()
    monkeypatch.setattr(socket, "gethostname", lambda: "no-such-host.invalid")
    with pytest.raises(StackError, match=r"no-such-host\.invalid, can't be resolved .*`127\.0\.0\.1 no-such-host\.inv"):
        preflight.check([])


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


@pytest.mark.parametrize("what", ["NEEDED_MEMORY", "NEEDED_DISK"])
def test_too_little_memory_or_disk_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str) -> None:
    monkeypatch.setattr(preflight, "STACK", tmp_path)
    monkeypatch.setattr(preflight, what, 1e18)
    with pytest.raises(StackError, match="GiB .* and the stack needs"):
        preflight.check([])
