"""A drafter and what says how much it proposes, as the decoding loop uses them."""

import time
from collections.abc import Sequence

from ..options import SpeculationStatistics
from ..protocols import CrossKV
from .controller import Controller
from .drafter import Drafter


class Speculation:
    """Proposes tokens for one transcription and keeps count."""

    def __init__(self, drafter: Drafter, controller: Controller, statistics: SpeculationStatistics) -> None:
        self._drafter = drafter
        self._controller = controller
        self._statistics = statistics

    def begin(self, cross: CrossKV, prompt: Sequence[int]) -> None:
        """A window is decoded, perhaps once more at another temperature."""
        self._drafter.begin(cross, prompt)

    def propose(self, sampled: Sequence[int], room: int) -> Sequence[int]:
        """Tokens that `sampled` may go on with; at most `room`."""
        count = min(self._controller.length(), room)
        if count < 1:
            return ()
        started = time.perf_counter()
        proposed = self._drafter.propose(sampled, count, self._controller)
        self._statistics.draft_seconds += time.perf_counter() - started
        return proposed

    def learn(self, proposed: int, accepted: int) -> None:
        """A verification of `proposed` tokens found so many of them right."""
        self._controller.learn(proposed, accepted)
        self._statistics.verifications += 1
        self._statistics.proposed += proposed
        self._statistics.accepted += accepted

    def end(self) -> None:
        """The window is decoded."""
        self._drafter.end()
