"""A reverse proxy that asks for a user and a password, as a Druid with a login does, and a CA for its certificate."""

import base64
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from service.druid import DruidSettings

USER, PASSWORD, READER = "fleet", "pässword: 1", "reader"  # the reader may not change anything


def settings(url: str, user: str = "", password_file: str = "", ca_file: str = "") -> DruidSettings:
    return DruidSettings(druid_url=url, druid_user=user, druid_password_file=password_file, druid_ca_file=ca_file)


class Proxy(BaseHTTPRequestHandler):
    """Forwards a request with the right password to `router`, or answers `[]` itself where there is none."""

    router = ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        user = self._user()
        if user is None:
            self._answer(401, b"Unauthorized", {"WWW-Authenticate": 'Basic realm="druid"'})
        elif user == READER and self.command == "POST" and not self.path.startswith("/druid/v2/sql"):
            self._answer(403, b"Forbidden")
        elif not self.router:
            self._answer(200, b"[]")
        else:
            headers = {"Content-Type": "application/json"} if body else {}
            with requests.Session() as session:
                session.trust_env = False
                url = self.router + self.path
                done = session.request(self.command, url, data=body, headers=headers, timeout=60)
            self._answer(done.status_code, done.content)

    do_POST = do_GET

    def _user(self) -> str | None:
        kind, _, given = self.headers.get("Authorization", "").partition(" ")
        user, _, password = base64.b64decode(given).decode().partition(":")
        return user if kind == "Basic" and user in (USER, READER) and password == PASSWORD else None

    def _answer(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that doesn't know the CA ends the connection."""


@contextmanager
def proxy(router: str = "", certificate: Path | None = None) -> Iterator[str]:
    """The URL of a proxy in front of `router`, with https if there is a certificate (with its key in the same file)."""
    handler = type("ProxyOfOne", (Proxy,), {"router": router})
    with Server(("127.0.0.1", 0), handler) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
        server.shutdown()


def make_ca(folder: Path, name: str = "ca") -> Path:
    """The certificate of a new CA; its key is beside it. Skips the test where there is no openssl."""
    if not shutil.which("openssl"):
        pytest.skip("a CA needs openssl, which is not on the PATH")
    ca = folder / f"{name}.pem"
    _openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-subj", f"/CN={name}", "-days", "2",
        "-addext", "keyUsage=critical,keyCertSign", "-keyout", ca.with_suffix(".key"), "-out", ca,
    )  # fmt: skip
    return ca


def make_certificate(ca: Path, name: str = "IP:127.0.0.1", days: int = 2) -> Path:
    """A server's key and certificate, signed by a CA of make_ca(), for an alternative name, that expires in `days`."""
    both = ca.with_name(f"server of {ca.stem}.pem")
    key, certificate = both.with_suffix(".key"), both.with_suffix(".crt")
    request, extensions = both.with_suffix(".csr"), both.with_suffix(".ext")
    extensions.write_text(f"subjectAltName={name}\nbasicConstraints=critical,CA:false\n")
    _openssl("req", "-newkey", "rsa:2048", "-noenc", "-subj", "/CN=router", "-keyout", key, "-out", request)
    _openssl(
        "x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca.with_suffix(".key"), "-days", days,
        "-extfile", extensions, "-out", certificate,
    )  # fmt: skip
    both.write_text(key.read_text() + certificate.read_text())
    return both


def _openssl(*arguments: str | int | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)
