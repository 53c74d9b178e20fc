"""What clients may ask of the service, and how much memory all of them may hold together."""

from dataclasses import dataclass


class Refusal(Exception):
    """A client is told no: with a code for programs and one line for people, as Wyoming's error event has them."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(frozen=True)
class Limits:
    """Bounds of the service."""

    clients: int = 32  # connected at once
    waiting: int = 8  # requests that wait while one is transcribed
    audio_seconds: float = 120.0  # of one request
    buffered_bytes: int = 64_000_000  # audio of all clients, as it came
    timeout: float = 60.0  # seconds in which a client sends a whole event, and takes an answer


class Budget:
    """Bytes that all clients share."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0


class Share:
    """What one client holds of the budget.

    Attributes:
        most: bytes that it held at once.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._held = self.most = 0

    def grow(self, n_bytes: int) -> None:
        """Hold `n_bytes` more.

        Raises:
            Refusal: they do not fit; nothing is held more than before.
        """
        if self._held + n_bytes > self._budget.size:
            raise Refusal(
                "too-large", f"more audio than the {self._budget.size} bytes that the service may hold"
            )
        if self._budget.used + n_bytes > self._budget.size:
            raise Refusal(
                "busy", "the service holds as much audio as it may; wait a little, then send it again"
            )
        self._budget.used += n_bytes
        self._held += n_bytes
        self.most = max(self.most, self._held)

    def settle(self, n_bytes: int) -> None:
        """Hold `n_bytes` from now on, no more than are held."""
        self._budget.used -= self._held - n_bytes
        self._held = n_bytes
