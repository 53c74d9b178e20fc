"""What a run is doing, on standard error: plain lines with the time since its start, on a terminal and in a log alike."""

import sys
import threading
import time
from collections.abc import Callable

BETWEEN = 3.0
"""Seconds between two lines at least, so that a log stays readable."""

Tell = Callable[[str], None]


def silent(line: str) -> None:
    """Tell nobody."""


class Progress:
    """Lines of a run; of those that come too fast the last one is shown, as soon as it may be."""

    def __init__(self) -> None:
        """The run begins."""
        self._started = time.monotonic()
        self._shown = -BETWEEN
        self._lock = threading.Lock()
        self._waiting: threading.Timer | None = None

    def tell(self, line: str) -> None:
        """Say what is done from now on."""
        now = time.monotonic()
        seconds = int(now - self._started)
        stamped = f"[{seconds // 60:3d}:{seconds % 60:02d}] {line}"
        with self._lock:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None
            wait = self._shown + BETWEEN - now
            if wait <= 0:
                self._print(stamped)
                return
            self._waiting = threading.Timer(wait, self._late, [stamped])
            self._waiting.daemon = True
            self._waiting.start()

    def end(self) -> None:
        """Nothing more is shown."""
        with self._lock:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

    def _late(self, stamped: str) -> None:
        with self._lock:
            if self._waiting is threading.current_thread():
                self._waiting = None
                self._print(stamped)

    def _print(self, stamped: str) -> None:
        self._shown = time.monotonic()
        print(stamped, file=sys.stderr, flush=True)
