"""The stack's folder: what may be in it before the first start, and one command at a time that changes it."""

import fcntl
import logging
import os
import pwd
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local_stack.errors import NotAllowed, StackError
from local_stack.paths import LOCAL, LOGS, STACK

# The file also tells a stack's folder from others: nothing is removed from a folder without it.
LOCK = STACK / "stack.lock"
LOCK_LIMIT = 240  # seconds to wait for another command

logger = logging.getLogger(__name__)


def is_stack() -> bool:
    """Whether the folder is there and is a stack's."""
    return STACK.is_dir() and (STACK.is_relative_to(LOCAL) or LOCK.exists())


def claim() -> None:
    """Make the folder a stack's. Raises NotAllowed when it is another program's, StackError when it can't be used."""
    if STACK.exists() and not STACK.is_dir():
        raise NotAllowed(f"STACK_DIR is {STACK}, which is a file: set it to a new folder.")
    try:
        if not is_stack() and STACK.exists() and (names := sorted(path.name for path in STACK.iterdir())):
            raise NotAllowed(
                f"STACK_DIR is {STACK}, which holds files of other programs ({', '.join(names[:3])}):"
                " set it to a new or an empty folder."
            )
        LOGS.mkdir(parents=True, exist_ok=True)
        LOCK.touch()
    except OSError as error:
        raise StackError(_not_usable(Path(error.filename or STACK), error.strerror or str(error))) from error
    for path in (*STACK.glob("*"), *STACK.glob("*/*")):
        if not path.is_symlink() and not os.access(path, os.W_OK):
            raise StackError(_not_usable(path, "no permission to write"))


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _not_usable(path: Path, reason: str) -> str:
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    return (
        f"{path} can't be used ({reason}): {there} belongs to {_name(there.stat().st_uid)}, and this command runs as"
        f" {_name(os.getuid())}. Run it as that user, or set STACK_DIR to another folder."
    )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


@contextmanager
def exclusive() -> Iterator[None]:
    """Wait until no other command changes the stack, and keep others waiting. Raises StackError."""
    deadline, waiting = time.monotonic() + LOCK_LIMIT, False
    while True:
        STACK.mkdir(parents=True, exist_ok=True)
        with LOCK.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                other = f"another command (process {file.read().strip()})"
                if time.monotonic() > deadline:
                    raise StackError(
                        f"Waited {LOCK_LIMIT} s for {other} on the stack in {STACK}: wait for its end or stop it."
                    ) from None
                if not waiting:
                    waiting = True
                    logger.info("waiting for %s on the same stack ...", other)
                time.sleep(0.2)
                continue
            if not _is_at(file.fileno(), LOCK):
                continue  # `make reset` has removed it meanwhile
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield
            return
