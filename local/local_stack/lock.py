"""One command at a time in a folder. Standard library only: install.py uses it."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from local_stack.errors import StackError

logger = logging.getLogger(__name__)


@contextmanager
def exclusive(lock: Path, limit: float) -> Iterator[None]:
    """Wait until no other command holds the file `lock`, at most `limit` seconds, and keep others waiting.

    Makes the folder of the file if it isn't there. Raises StackError at the limit.
    """
    deadline, waiting = time.monotonic() + limit, False
    while True:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                other = f"another command (process {file.read().strip() or 'unknown'}) in {lock.parent}"
                if time.monotonic() > deadline:
                    raise StackError(f"Waited {limit} s for {other}: wait for its end or stop it.") from None
                if not waiting:
                    waiting = True
                    logger.info("waiting for %s ...", other)
                time.sleep(0.2)
                continue
            if not _is_at(file.fileno(), lock):
                continue  # `make reset` has removed it meanwhile
            with suppress(OSError):  # `make down` and `make reset` work on a full disk too
                os.truncate(file.fileno(), 0)
                os.write(file.fileno(), str(os.getpid()).encode())
            yield
            return


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
