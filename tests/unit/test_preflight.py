"""Without Docker: what is checked before anything starts."""

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


@pytest.mark.parametrize("what", ["NEEDED_MEMORY", "NEEDED_DISK"])
def test_too_little_memory_or_disk_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str) -> None:
    monkeypatch.setattr(preflight, "STACK", tmp_path)
    monkeypatch.setattr(preflight, what, 1e18)
    with pytest.raises(StackError, match="GiB .* and the stack needs"):
        preflight.check([])
