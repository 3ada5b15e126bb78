"""A limit for calls that have none of their own, as the resolution of a name."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, ask: Callable[[], T]) -> T:
    """What ask() returns or raises. Raises TimeoutError after `seconds`; the call then goes on in its thread."""
    done: Future[T] = Future()

    def call() -> None:
        try:
            done.set_result(ask())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return done.result(timeout=seconds)
