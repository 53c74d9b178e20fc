"""A drafter and what says how much it proposes, as the decoding loop uses them."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..options import DecodingOptions, SpeculationStatistics
from ..protocols import CrossKV, Floats
from .controller import MOST_PROPOSED, AdaptiveLength, Controller, FixedLength, StepCosts
from .drafter import Drafter
from .lookup import HypothesisDrafter, LookupDrafter, TokenMap


@dataclass(frozen=True)
class Draft:
    """A loaded draft.

    Attributes:
        drafter: makes what proposes tokens in one transcription.
        costs: of steps on this device.
    """

    drafter: Callable[[], Drafter]
    costs: StepCosts


DraftSource = Callable[[bool], Draft | None]
"""Gives the draft; where steps of several tokens have other bits than single ones, only if called with True."""

USUAL_COSTS = StepCosts(tuple(1 + 0.08 * rows for rows in range(MOST_PROPOSED + 1)), 0.001, 0.001)
"""Of looking up where nobody has measured steps: about what processors take."""

Answer = TypeVar("Answer")
_LOG = logging.getLogger("edgewhisper")


class Speculation:
    """Proposes tokens for one transcription and keeps count. A drafter that fails is warned of and left, as text comes without it too."""

    def __init__(self, drafter: Drafter, controller: Controller, statistics: SpeculationStatistics) -> None:
        self._drafter: Drafter | None = drafter
        self._controller = controller
        self._statistics = statistics
        self._cross: CrossKV | None = None

    def begin(self, cross: CrossKV, prompt: Sequence[int]) -> None:
        """A window is decoded, perhaps once more at another temperature."""
        if cross is not self._cross:
            self._cross = cross
            self._controller.begin()
        self._asked(lambda drafter: drafter.begin(cross, prompt))

    def propose(self, sampled: Sequence[int], room: int, hidden: Floats | None) -> Sequence[int]:
        """Tokens that `sampled` may go on with; at most `room`. `hidden` as in `Drafter.propose`."""
        count = min(self._controller.length(len(sampled)), room)
        if count < 1:
            return ()
        started = time.perf_counter()
        proposed = self._asked(lambda drafter: drafter.propose(sampled, count, self._controller, hidden))
        self._statistics.draft_seconds += time.perf_counter() - started
        return proposed or ()

    def learn(self, proposed: int, accepted: int, seconds: float) -> None:
        """A verification of `proposed` tokens found so many of them right, and its step took so long."""
        self._statistics.main_seconds += seconds
        self._controller.learn(proposed, accepted)
        self._statistics.verifications += 1
        self._statistics.proposed += proposed
        self._statistics.accepted += accepted

    def end(self) -> None:
        """The window is decoded."""
        self._cross = None
        self._asked(lambda drafter: drafter.end())

    def _asked(self, ask: Callable[[Drafter], Answer]) -> Answer | None:
        if self._drafter is None:
            return None
        try:
            return ask(self._drafter)
        except Exception as error:  # ONNX Runtime's have no common base
            line = next(iter(str(error).splitlines()), type(error).__name__)
            _LOG.warning("the draft failed (%s); decoding goes on without it", line)
            self._drafter = None
            return None


def speculation_for(
    options: DecodingOptions, load_draft: DraftSource, statistics: SpeculationStatistics
) -> Speculation | None:
    """What proposes tokens in one transcription; None where nothing does.

    Args:
        options: a number in `speculate` without a draft looks up what the text said before.
        load_draft: gives the artifact's draft, if it has one; not called where none is wanted.
        statistics: counts what is proposed.
    """
    if options.speculate == "off":
        return None
    adapts = isinstance(options.speculate, str)
    draft = load_draft(not adapts or options.allow_inexact)
    drafter: Drafter = LookupDrafter(TokenMap())
    costs: StepCosts | None = None
    if draft is not None:
        drafter, costs = draft.drafter(), draft.costs
        statistics.greedy_seconds = costs.seconds
    if options.hypothesis:
        drafter, costs = HypothesisDrafter(options.hypothesis, drafter), costs or USUAL_COSTS
    if not adapts:
        return Speculation(drafter, FixedLength(int(options.speculate)), statistics)
    return None if costs is None else Speculation(drafter, AdaptiveLength(costs), statistics)
