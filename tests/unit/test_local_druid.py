"""What is asked of Druid, and a proxy that the user's shell has set for the internet."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import druid_router
import pytest
import registration.druid
from druid_router import proxy
from local_stack.druid import Druid, get, without_login
from local_stack.errors import Unhealthy


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'[{"n": 7}]')

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server on this machine, with proxies in the environment at which nothing listens."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_no_request_to_druid_goes_through_a_proxy(url: str) -> None:
    assert get(url) == [{"n": 7}]
    assert Druid(without_login(url)).number("SELECT 7 AS n") == 7
    assert registration.druid.Druid(without_login(url)).ask("GET", "/path") == [{"n": 7}]


def test_a_druid_that_refuses_the_user_is_not_healthy_and_a_password_that_was_removed_is_named(tmp_path: Path) -> None:
    said = "asks for a user and a password: set DRUID_USER and DRUID_PASSWORD_FILE$"
    with proxy() as secured, pytest.raises(Unhealthy, match=said):
        Druid(without_login(secured)).sql("SELECT 1")
    removed = str(tmp_path / "removed")
    with pytest.raises(Unhealthy, match="it can't be read"):
        Druid(druid_router.settings("http://druid", "fleet", removed)).sql("SELECT 1")
