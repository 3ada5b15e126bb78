"""What a process and its children have used, and the error of a run that doesn't count."""

from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

import psutil


class WrongResult(Exception):
    """The result of a run is wrong or incomplete, so its figures don't count."""


class Usage(NamedTuple):
    """CPU seconds so far, and the sum of the processes' largest memory, MiB."""

    cpu: float
    peak: float


def usage(pid: int) -> Usage:
    """What the process and all its descendants have used."""
    cpu = peak = 0.0
    root = psutil.Process(pid)
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):  # it may end meanwhile
            cpu += sum(process.cpu_times()[:4])  # user and system, its own and of its children that have ended
            with open(f"/proc/{process.pid}/status") as status:
                peak += next((int(line.split()[1]) for line in status if line.startswith("VmHWM")), 0) / 1024
    return Usage(cpu, peak)


def cpu(pids: Iterable[int]) -> float:
    """CPU seconds of processes and all their descendants so far."""
    return sum(usage(pid).cpu for pid in pids)
