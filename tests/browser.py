"""A headless Chromium, as a test drives it: by the DevTools protocol over a pipe, without a port and a library."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
)  # fmt: skip
LIMIT = 60  # seconds for one answer


class Browser:
    """One page. Used as a context manager; `events` are the DevTools protocol's, as they came."""

    def __init__(self, width: int, height: int) -> None:
        self.events: list[dict[str, Any]] = []
        self._size = f"--window-size={width},{height}"
        self._buffer, self._calls, self._session = b"", 0, ""

    def __enter__(self) -> "Browser":
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        (read, self._write), (self._read, write) = os.pipe(), os.pipe()
        # Chromium reads from 3 and writes to 4.
        given = [fcntl.fcntl(each, fcntl.F_DUPFD, 10) for each in (read, write)]
        profile = f"--user-data-dir={self._profile.name}"
        redirect = 'exec "$@" 3<&{} 4>&{}'.format(*given)
        self._process = subprocess.Popen(
            ["bash", "-c", redirect, "chromium", str(CHROMIUM), *ARGUMENTS, self._size, profile],
            pass_fds=given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for each in (read, write, *given):
            os.close(each)
        page = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(LIMIT)
        os.close(self._write)
        os.close(self._read)
        self._profile.cleanup()

    def __call__(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the DevTools protocol."""
        self._calls += 1
        command = {"id": self._calls, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._write, json.dumps(command).encode() + b"\0")
        deadline = time.monotonic() + LIMIT
        while True:
            answer = self._receive(deadline)
            assert answer is not None, f"{method}: no answer within {LIMIT} s"
            if answer.get("id") == self._calls:
                assert "error" not in answer, (method, answer)
                return dict(answer["result"])

    def wait(self, seconds: float) -> None:
        """Collect events for a time."""
        deadline = time.monotonic() + seconds
        while self._receive(deadline):
            pass

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def type(self, selector: str, text: str) -> None:
        """Write into a field of the page."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self("Input.insertText", text=text)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self("Page.captureScreenshot", format="png")["data"]))

    def errors(self) -> list[str]:
        """What the console shows as an error, and the scripts' exceptions."""
        found = []
        for event in self.events:
            what = event["params"]
            if event["method"] == "Log.entryAdded" and what["entry"]["level"] == "error":
                found.append(f"{what['entry']['text']} {what['entry'].get('url', '')}")
            elif event["method"] == "Runtime.consoleAPICalled" and what["type"] in ("error", "assert"):
                found.append(" ".join(str(each.get("value", each.get("description"))) for each in what["args"]))
            elif event["method"] == "Runtime.exceptionThrown":
                found.append(str(what["exceptionDetails"]))
        return found

    def requested(self) -> list[str]:
        """The URLs that the page has asked for."""
        sent = [event["params"] for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [each["request"]["url"] for each in sent]

    def _receive(self, deadline: float) -> dict[str, Any] | None:
        """The next message, which is kept if it is an event; None at the deadline."""
        while b"\0" not in self._buffer:
            ready = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))[0]
            if not ready:
                return None
            part = os.read(self._read, 2**20)
            assert part, "Chromium has ended"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        received: dict[str, Any] = json.loads(message)
        if "method" in received:
            self.events.append(received)
        return received
