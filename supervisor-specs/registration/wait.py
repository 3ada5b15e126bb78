"""Wait for something, with a limit."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from registration.druid import NotReady

POLL_INTERVAL = 0.5  # seconds

T = TypeVar("T")

logger = logging.getLogger(__name__)


def wait_for(what: str, check: Callable[[], T], seconds: float, since_change: bool = False) -> T:
    """The result of check() as soon as it raises no NotReady.

    Raises TimeoutError with the text of the last NotReady when `seconds` have passed since the start or, with
    `since_change`, since that text last changed.
    """
    deadline, seen = time.monotonic() + seconds, ""
    while True:
        try:
            return check()
        except NotReady as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {seconds:g} s for {what}: {error}") from error
            if str(error) != seen:
                seen = str(error)
                if since_change:
                    deadline = time.monotonic() + seconds
                logger.info("waiting for %s: %s", what, seen)
            time.sleep(POLL_INTERVAL)
