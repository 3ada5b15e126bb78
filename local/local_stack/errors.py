"""What ends a verb, and what it waits for. Standard library only: install.py uses it.

StackError        the verb ends with the text and exit code 1
└── NotAllowed    what the user gave is not allowed: exit code 2
Unhealthy         a service doesn't do its work, or not yet
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping


class StackError(Exception):
    """A verb can't go on. Each argument is a sentence that says what happened and what to do."""

    exit_code = 1

    def __str__(self) -> str:
        return "\n".join(self.args)


class NotAllowed(StackError):
    """A setting, an argument or a line of .env is not allowed."""

    exit_code = 2


class Unhealthy(Exception):
    """A service doesn't do its work, or not yet. The text says what was seen."""


def findings(checks: Iterable[Callable[[], object]]) -> dict[str, int]:
    """The sentences of all checks that raise StackError or OSError, each sentence once, with its exit code."""
    found: dict[str, int] = {}
    for check in checks:
        try:
            check()
        except StackError as error:
            for sentence in error.args:
                found.setdefault(sentence, error.exit_code)
        except OSError as error:
            found.setdefault(not_accessible(error), StackError.exit_code)
    return found


def not_accessible(error: OSError) -> str:
    """The sentence for a file or folder that can't be read or written."""
    return f"{error}. Check who owns the file or folder, and whether the disk has space."


def refuse(found: Mapping[str, int]) -> None:
    """Raises one StackError with all sentences that findings() has returned, if there are any."""
    if found:
        raise (NotAllowed if NotAllowed.exit_code in found.values() else StackError)(*found)
