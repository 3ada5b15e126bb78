"""What ends a verb, and what it waits for.

StackError        the verb ends with the text and exit code 1
└── NotAllowed    what the user gave is not allowed: exit code 2
Unhealthy         a service doesn't do its work, or not yet
"""


class StackError(Exception):
    """A verb can't go on. The text says what happened and what to do."""

    exit_code = 1


class NotAllowed(StackError):
    """A setting, an argument or a line of .env is not allowed."""

    exit_code = 2


class Unhealthy(Exception):
    """A service doesn't do its work, or not yet. The text says what was seen."""
