"""The request to stop a run, which SIGTERM and SIGINT make."""

import signal
import time
from collections.abc import Callable

STOP_SIGNALS = signal.SIGTERM, signal.SIGINT


class Stop:
    """Whether a stop is requested. Unlike a threading.Event it has no lock, for which a signal handler could wait."""

    def __init__(self, also: Callable[[], bool] = lambda: False) -> None:
        """`also` tells whether there is another reason to stop."""
        self.received: signal.Signals | None = None
        self._also = also

    def listen(self) -> None:
        """Handle SIGTERM and SIGINT from now on. Only the main thread can call it."""
        for each in STOP_SIGNALS:
            signal.signal(each, self.request)

    def request(self, signum: int = signal.SIGTERM, _frame: object = None) -> None:
        self.received = signal.Signals(signum)

    def is_requested(self) -> bool:
        return self.received is not None or self._also()

    def wait(self, seconds: float) -> None:
        """Wait for `seconds`, or less when a stop is requested."""
        end = time.monotonic() + seconds
        while not self.is_requested() and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))
