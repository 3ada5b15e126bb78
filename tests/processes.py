"""Programs that a test starts itself, beside the stack."""

import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

Start = Callable[..., "subprocess.Popen[bytes]"]


def kill(process: "subprocess.Popen[bytes]") -> None:
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        for each in [*parent.children(recursive=True), parent]:
            with suppress(psutil.NoSuchProcess):
                each.send_signal(signal.SIGKILL)
    process.wait(timeout=30)


def free_ports(number: int) -> list[int]:
    with ExitStack() as sockets:
        bound = [sockets.enter_context(socket.socket()) for _ in range(number)]
        for each in bound:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in bound]


@dataclass
class Broker:
    """A broker of a test's own, on a free port."""

    address: str
    log: Path  # the folder of its log
    run: Callable[[], "subprocess.Popen[bytes]"]
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        self.process = self.run()

    def stop(self) -> None:
        assert self.process
        self.process.terminate()
        self.process.wait(timeout=60)
