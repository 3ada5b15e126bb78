"""The stack's folder: what may be in it before the first start, and one command at a time that changes it."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local_stack import lock
from local_stack.errors import NotAllowed, StackError
from local_stack.paths import LOCAL, LOGS, STACK

# The file also tells a stack's folder from others: nothing is removed from a folder without it.
LOCK = STACK / "stack.lock"
LOCK_LIMIT = 240  # seconds to wait for another command


def is_stack() -> bool:
    """Whether the folder is there and is a stack's."""
    return STACK.is_dir() and (STACK.is_relative_to(LOCAL) or LOCK.exists())


def check() -> None:
    """Raises NotAllowed when the folder is another program's, StackError when this user can't use it."""
    try:
        if STACK.exists() and not STACK.is_dir():
            raise NotAllowed(f"STACK_DIR is {STACK}, which is a file: set it to a new folder.")
        if not is_stack() and STACK.exists() and (names := sorted(path.name for path in STACK.iterdir())):
            raise NotAllowed(
                f"STACK_DIR is {STACK}, which holds files of other programs ({', '.join(names[:3])}):"
                " set it to a new or an empty folder."
            )
    except OSError as error:
        raise _not_usable(error, STACK) from error
    for path in (existing(STACK), *STACK.glob("*"), *STACK.glob("*/*")):
        if not path.is_symlink() and not os.access(path, os.W_OK):
            raise _not_usable("no permission to write", path)


def claim() -> None:
    """Make the folder a stack's. Raises what check() raises."""
    check()
    try:
        LOGS.mkdir(parents=True, exist_ok=True)
        LOCK.touch()
    except OSError as error:
        raise _not_usable(error, Path(error.filename or STACK)) from error


def existing(path: Path) -> Path:
    """The path itself, or the nearest folder above it that is there."""
    return next(folder for folder in (path, *path.parents) if os.path.exists(folder))


def _not_usable(reason: OSError | str, path: Path) -> StackError:
    seen = reason if isinstance(reason, str) else reason.strerror
    if isinstance(reason, OSError) and not isinstance(reason, PermissionError):
        return StackError(f"{path} can't be used ({seen}): check its disk, or set STACK_DIR to another folder.")
    there = existing(path)
    return StackError(
        f"{path} can't be used ({seen}): {there} belongs to {_name(there.stat().st_uid)}, and this command runs as"
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
    with lock.exclusive(LOCK, LOCK_LIMIT):
        yield
