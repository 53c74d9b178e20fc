"""The key Enter as the button that is pressed to talk."""

import contextlib
import os
import threading
from collections.abc import Callable
from typing import IO

from edgewhisper.errors import UsageError


class EnterKey:
    """Enter begins an utterance, and the next Enter ends it; a line on a pipe does the same.

    Attributes:
        held: whether an utterance is being said.
    """

    def __init__(self, file: IO[bytes], on_change: Callable[[bool], None]) -> None:
        """Prepare to watch standard input.

        Args:
            file: standard input.
            on_change: called with whether an utterance is being said now.

        Raises:
            UsageError: the file has no descriptor.
        """
        self.held = False
        self._on_change = on_change
        try:
            self._descriptor = file.fileno()
        except (OSError, ValueError):
            raise UsageError("push-to-talk reads the key Enter from standard input, which is none") from None

    def start(self, on_end: Callable[[], None]) -> None:
        """Watch, in a thread of its own; `on_end` is called when there will be no more keys."""
        # By the descriptor: a thread that waits in `file.read` would hold its lock when the program ends.
        threading.Thread(target=self._watch, args=[on_end], name="edgewhisper-key", daemon=True).start()

    def is_held(self) -> bool:
        """Whether an utterance is being said."""
        return self.held

    def _watch(self, on_end: Callable[[], None]) -> None:
        with contextlib.suppress(OSError):  # of a terminal that has gone
            while data := os.read(self._descriptor, 1024):
                for _ in range(data.count(b"\n")):
                    self.held = not self.held
                    self._on_change(self.held)
        self.held = False
        on_end()
