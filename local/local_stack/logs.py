"""Logs: what the verbs log, and the ends of the services' logs."""

import logging
import re
from contextlib import suppress
from logging.handlers import RotatingFileHandler

from service import log

from local_stack.paths import LOGS


def configure() -> None:
    """Show messages in the terminal, on standard error; where there is a stack, write them to its log as well."""
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    with suppress(OSError):  # no stack yet, or that of another user
        file = RotatingFileHandler(LOGS / "local.log", maxBytes=5_000_000, backupCount=1)
        file.setFormatter(log.formatter("local"))
        handlers.append(file)
    logging.raiseExceptions = False  # on a full disk, there would be a stack trace beside each message
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=handlers, force=True)
    # kafka-python logs each failed connection; the checks report what comes of it.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


def tail_log(name: str, lines: int) -> str:
    """The end of a service's log."""
    try:
        return "\n".join((LOGS / f"{name}.log").read_text(errors="replace").strip().splitlines()[-lines:])
    except OSError:
        return "(no log)"


def last_message(name: str) -> str:
    """The last message in a service's log."""
    return messages(tail_log(name, 1))


def messages(text: str) -> str:
    """Log lines without the time, the level and the name of the service."""
    return re.sub(r"^\S+Z [A-Z]+ [\w-]+: ", "", text, flags=re.MULTILINE)
