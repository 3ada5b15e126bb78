"""Destructive: the disk of a stack of its own is full, and later has space again; nobody does anything else."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from pipeline import AGGREGATED, PORTS, Pipeline, assert_every_window_is_right, new_pipeline, poll_until

pytestmark = pytest.mark.timeout(900)
GIB = 1024**3


@dataclass
class Disk:
    """A file system in memory, whose size can change while it is in use."""

    path: Path

    def resize(self, size: int) -> None:
        """Set the size in bytes. It can't be less than what is used."""
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.path)], check=True)

    def fill(self) -> None:
        """Leave what the next few writes need: what is written a page at a time fails in the middle."""
        self.resize(shutil.disk_usage(self.path).used + 64 * 1024)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """An empty disk with space for a stack."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={3 * GIB}", "test_disk_full", str(path)]
    mounted = subprocess.run(command, capture_output=True, text=True) if shutil.which("mount") else None
    if not mounted or mounted.returncode:
        pytest.skip(f"a small disk needs Linux and the right to mount: {mounted.stderr if mounted else 'no mount'}")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def stack_on(disk: Disk) -> Iterator[Pipeline]:
    """A stack on the disk; its ports are not those of the other tests' stack, which may run."""
    made = new_pipeline(disk.path / "stack", {name: port + 1000 for name, port in PORTS.items()})
    try:
        yield made
    finally:
        made.make("down")


def test_a_full_disk_stops_the_stack_which_goes_on_by_itself_when_there_is_space(
    disk: Disk, stack_on: Pipeline
) -> None:
    stack = stack_on
    stack.started("up", SCRIPT_DURATION="3600")
    poll_until("windows", lambda: stack.rows(AGGREGATED) > 0, seconds=120)
    before = stack.generator()["run"]["acknowledged"]

    disk.fill()
    status = poll_until("Kafka and the windows job without space", lambda: unhealthy(stack, "kafka0", "pyspark"), 120)
    assert "The disk is full: free some space there" in status
    assert "Traceback" not in status
    refused = stack.make("up", SCRIPT_DURATION="60")  # a file of its own can't be written: it stays as it was
    assert refused.returncode != 0
    assert "No space left on device" in refused.stdout
    assert "Traceback" not in refused.stdout

    disk.resize(3 * GIB)
    poll_until("everything healthy again", stack.is_healthy, seconds=240)
    poll_until("more readings", lambda: stack.generator()["run"]["acknowledged"] > before + 1000, seconds=60)
    psutil.Process(stack.processes()["sensorgenerator"]).terminate()
    poll_until("the end of the generator", lambda: stack.generator()["state"] == "stopped", seconds=60)
    run = stack.generator()["run"]
    assert run["sent"] == run["acknowledged"] + run["failed"]
    figures = stack.closed()
    assert figures["kafka"]["readings"] >= run["acknowledged"]
    assert figures["duplicates"] == 0
    assert_every_window_is_right(stack.kafka, stack.router)


def unhealthy(stack: Pipeline, *names: str) -> str | None:
    """What `make status` says when all these services are not healthy."""
    said = stack.make("status").stdout
    wrong = {line.split()[0] for line in said.splitlines() if "NOT HEALTHY" in line}
    return said if wrong.issuperset(names) else None
