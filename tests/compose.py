"""docker-compose.yml as the Docker tests see it: a copy of this checkout, `docker compose` and the ledger."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pipeline import poll_until
from repository import ROOT

ONE_SHOTS = ("topics", "supervisor-specs", "sensorgenerator")


@dataclass
class Compose:
    folder: Path
    environment: dict[str, str]

    def __call__(self, *words: str, merged: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `docker compose`; `merged` with its errors in its output."""
        return subprocess.run(
            ["docker", "compose", *words],
            cwd=self.folder, env=self.environment, text=True, timeout=900,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT if merged else subprocess.PIPE,
        )  # fmt: skip

    def inspect(self, service: str, what: str) -> Any:
        """What Docker knows of a service's container, the first of several, as in ".State"."""
        container, *_ = self("ps", "--all", "--quiet", service, merged=False).stdout.split()
        command = ["docker", "inspect", "--format", f"{{{{json {what}}}}}", container]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def assert_doctor_finds_nothing(self) -> None:
        """In the end: just after a start, a busy machine may answer too late, or Druid lag behind."""

        def nothing() -> bool:
            said = self("run", "--rm", "doctor").stdout
            assert "Nothing was found. Checked: " in said, said
            return True

        poll_until("a doctor without findings", nothing, 120)

    def services(self) -> dict[str, dict[str, str]]:
        lines = self("ps", "--all", "--format", "json").stdout.splitlines()
        return {state["Service"]: state for state in map(json.loads, lines)}

    @contextmanager
    def running(self, *services: str) -> Iterator["Compose"]:
        """The project with these services, by default all, without data of before; in the end everything is removed."""
        self("down", "--volumes")
        try:
            self.up(*services)
            yield self
        finally:
            self("down", "--volumes", "--rmi", "local")

    def up(self, *services: str) -> None:
        up = self("up", "--detach", "--wait", "--wait-timeout", "300", *services)
        if re.search(r"container \S+-sensorgenerator-1 exited \(0\)", up.stdout):
            # On a busy machine the generator finishes before Druid is healthy, which `--wait` takes for a failure.
            poll_until("every server healthy", self.is_healthy, 300)
            return
        assert up.returncode == 0, up.stdout + self("logs", "--tail", "20").stdout

    def is_healthy(self) -> bool:
        states = [state for name, state in self.services().items() if name not in ONE_SHOTS]
        return all((state["State"], state["Health"]) == ("running", "healthy") for state in states)

    def generator(self) -> dict[str, Any]:
        """The generator's state file when it has ended."""
        poll_until("the generator's end", lambda: self.services()["sensorgenerator"]["State"] == "exited", 180)
        copied = self("cp", "sensorgenerator:/var/lib/sensor-data/generator.json", str(self.folder / "generator.json"))
        assert copied.returncode == 0, copied.stdout
        return dict(json.loads((self.folder / "generator.json").read_text()))

    def acknowledged(self) -> int:
        """Records that Kafka acknowledged to the generator, in all of its runs."""
        state = self.generator()
        assert state["run"]["failed"] == 0
        return int(state["earlier_runs"]["acknowledged"] + state["run"]["acknowledged"])

    def closed(self) -> dict[str, Any]:
        """The ledger's figures when it closes and no window is open any more."""

        def closed() -> dict[str, Any]:
            script = "python ledger/verify.py >&2; cat /tmp/result.json"
            variables = ("--env", "WAIT=120", "--env", "RESULT_FILE=/tmp/result.json")
            verify = self("run", "--rm", *variables, "verify", "sh", "-c", script, merged=False)
            result = json.loads(verify.stdout.splitlines()[-1])  # after what the build of the image printed
            assert result["closes"], result
            assert result["figures"]["in_open_windows"] == 0
            return dict(result["figures"])

        return poll_until("the ledger", closed, 240)


def copy_of_the_checkout(folder: Path) -> None:
    """Copy the files that git knows to a new folder, where only their owner can read them."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode & 0o700)


def need_docker() -> None:
    """Skip the test where no Docker engine answers."""
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("there is no Docker engine that answers")
