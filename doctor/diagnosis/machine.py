"""Checks of this machine: the disk and the memory."""

import shutil
from pathlib import Path

from diagnosis.remedies import DOWN

GIB, MIB = 2**30, 2**20
DISK_LIMIT = 1 * GIB
MEMORY_LIMIT = 256 * MIB
MEMINFO = Path("/proc/meminfo")


def free_disk(folder: Path) -> int | None:
    """The free bytes of the file system that a folder is on, or will be; None if it can't be told."""
    existing = next((each for each in (folder, *folder.parents) if each.exists()), None)
    try:
        return shutil.disk_usage(existing).free if existing else None
    except OSError:
        return None


def available_memory(meminfo: Path = MEMINFO) -> int | None:
    """The bytes that programs can still take; None where there is no /proc/meminfo, as on macOS."""
    try:
        lines = meminfo.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, LookupError, StopIteration):
        return None


def disk(free: int | None, folder: Path) -> list[str]:
    """Too little disk for Kafka, the checkpoint and Druid's segments."""
    if free is None or free >= DISK_LIMIT:
        return []
    return [
        f"Only {free / MIB:,.0f} MiB are free on the disk of {folder}. Free at least 1 GiB: on a full disk, Kafka,"
        " Druid and the windows job stop until there is space. KAFKA_RETENTION_BYTES in .env bounds what Kafka keeps."
    ]


def memory(available: int | None) -> list[str]:
    """Too little memory for another process."""
    if available is None or available >= MEMORY_LIMIT:
        return []
    return [
        f"Only {available / MIB:,.0f} MiB of memory are available. End other programs, or lower NUM_ENTITIES: the"
        f" system kills processes when none is left. {DOWN} stops the stack and keeps the data."
    ]
