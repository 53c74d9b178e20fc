"""A drafter and what says how much it proposes, as the decoding loop uses them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..options import DecodingOptions, SpeculationStatistics
from ..protocols import CrossKV, Floats
from .controller import AdaptiveLength, Controller, FixedLength, StepCosts
from .drafter import Drafter
from .lookup import HypothesisDrafter, LookupDrafter, TokenMap


@dataclass(frozen=True)
class Draft:
    """A loaded draft.

    Attributes:
        drafter: makes what proposes tokens in one transcription.
        costs: of steps on this device.
        is_exact: whether steps of several tokens have the bits of single ones on it.
    """

    drafter: Callable[[], Drafter]
    costs: StepCosts
    is_exact: bool


class Speculation:
    """Proposes tokens for one transcription and keeps count."""

    def __init__(self, drafter: Drafter, controller: Controller, statistics: SpeculationStatistics) -> None:
        self._drafter = drafter
        self._controller = controller
        self._statistics = statistics

    def begin(self, cross: CrossKV, prompt: Sequence[int]) -> None:
        """A window is decoded, perhaps once more at another temperature."""
        self._drafter.begin(cross, prompt)

    def propose(self, sampled: Sequence[int], room: int, hidden: Floats | None) -> Sequence[int]:
        """Tokens that `sampled` may go on with; at most `room`. `hidden` as in `Drafter.propose`."""
        count = min(self._controller.length(), room)
        if count < 1:
            return ()
        started = time.perf_counter()
        proposed = self._drafter.propose(sampled, count, self._controller, hidden)
        self._statistics.draft_seconds += time.perf_counter() - started
        return proposed

    def learn(self, proposed: int, accepted: int, seconds: float) -> None:
        """A verification of `proposed` tokens found so many of them right, and took so long."""
        self._statistics.main_seconds += seconds
        self._controller.learn(proposed, accepted)
        self._statistics.verifications += 1
        self._statistics.proposed += proposed
        self._statistics.accepted += accepted

    def end(self) -> None:
        """The window is decoded."""
        self._drafter.end()


def speculation_for(
    options: DecodingOptions, load_draft: Callable[[], Draft | None], statistics: SpeculationStatistics
) -> Speculation | None:
    """What proposes tokens in one transcription; None where nothing does.

    Args:
        options: a number in `speculate` without a draft looks up what the text said before.
        load_draft: gives the artifact's draft, if it has one; not called where it is not wanted.
        statistics: counts what is proposed.
    """
    if options.speculate == "off":
        return None
    draft = load_draft()
    drafter: Drafter = LookupDrafter(TokenMap())
    if draft is not None:
        drafter = draft.drafter()
        statistics.greedy_seconds = draft.costs.seconds
    if options.hypothesis:
        drafter = HypothesisDrafter(options.hypothesis, drafter)
    if not isinstance(options.speculate, str):  # any whole number, NumPy's too
        return Speculation(drafter, FixedLength(int(options.speculate)), statistics)
    if draft is None or not (draft.is_exact or options.allow_inexact):
        return None
    return Speculation(drafter, AdaptiveLength(draft.costs), statistics)
