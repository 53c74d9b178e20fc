"""How many tokens to propose: as many as pay, by what steps cost on this device and how often proposals were right."""

import math
from dataclasses import dataclass

MOST_PROPOSED = 8
"""Tokens proposed at once; a verification takes one row more."""

LEAST_GAIN = 1.05
"""Expected speed-up below which nothing is proposed."""

_EXPECTED, _WEIGHT = 0.75, 2.0
"""Acceptance rate before anything is known, and how many proposals that guess is worth."""

_MEMORY = 0.97
"""What a proposal still counts after the next one: the rate is that of the last thirty or so."""

_PROBE_AFTER, _LONGEST_PAUSE = 16, 256
"""Single steps until one proposal is tried again while switched off; doubled each time it does not pay."""

_PROBE_SHARE = 0.02
"""Of the time, at most, that probing may spend on a draft's encoder."""

_USUAL_TOKENS = 60.0
"""Tokens of a window before any is known."""


@dataclass(frozen=True)
class StepCosts:
    """Times of steps, divided by that of a greedy step as it really runs.

    Attributes:
        rows: of a step of 1, 2, .. rows of the decoder.
        first: of the first drafted token after a step of the decoder, whose weights have left none of the draft's in the caches.
        further: of every further one.
        window: of what the draft does once in a window: its own encoder.
        seconds: of the greedy step itself.
    """

    rows: tuple[float, ...]
    first: float
    further: float
    window: float = 0.0
    seconds: float = math.nan

    def verification(self, proposed: int) -> float:
        """A step over the last token and the proposals."""
        return self.rows[min(proposed, len(self.rows) - 1)]

    def drafting(self, proposed: int) -> float:
        """Drafting so many tokens."""
        return self.first + (proposed - 1) * self.further if proposed else 0.0


class FixedLength:
    """Always the same number of proposals."""

    def __init__(self, proposals: int) -> None:
        self._proposals = proposals

    def begin(self) -> None:
        """A window begins."""

    def length(self, said: int) -> int:
        """How many tokens to propose after so many of the window."""
        return self._proposals

    def goes_on(self, drafted: int, probability: float) -> bool:
        """Whether to draft one more token; always."""
        return True

    def learn(self, proposed: int, accepted: int) -> None:
        """Nothing is learnt."""


class AdaptiveLength:
    """As many proposals as have the largest expected speed-up, none where that is small.

    With an acceptance rate a, K proposals give (1 - a^(K+1)) / (1 - a) tokens for a verification of K + 1 rows and K drafted
    tokens. Switched off, it tries a single proposal from time to time.

    What a draft does once in a window is shared among the tokens that the window is expected to have still, and is spent with its first
    proposal.
    """

    def __init__(self, costs: StepCosts) -> None:
        self._costs = costs
        self._right = _EXPECTED * _WEIGHT
        self._seen = _WEIGHT
        self._pause = _PROBE_AFTER
        self._skipped = 0
        self._due = costs.window
        self._said, self._usual = 0, _USUAL_TOKENS
        self._worth = 1.0  # tokens that the time of a greedy step brings now

    @property
    def acceptance(self) -> float:
        """The running acceptance rate."""
        return self._right / self._seen

    def begin(self) -> None:
        """A window begins; the tokens that the last one had say how many to expect."""
        if self._said:
            self._usual += (self._said - self._usual) / 2
        self._due, self._said = self._costs.window, 0

    def length(self, said: int) -> int:
        """How many tokens to propose now, after so many of the window."""
        self._said = said
        best = max(range(1, MOST_PROPOSED + 1), key=self._gain)
        self._worth = max(1.0, self._gain(best))
        if self._worth >= LEAST_GAIN:
            return best
        self._skipped += 1
        pause = max(self._pause, self._due / _PROBE_SHARE)
        return 0 if self._skipped < pause else 1  # until something is proposed

    def goes_on(self, drafted: int, probability: float) -> bool:
        """Whether the chance that the next token is right too outweighs the tokens that its time brings otherwise."""
        costs = self._costs
        more = costs.verification(drafted + 1) - costs.verification(drafted) + costs.further
        return probability * self.acceptance > more * self._worth

    def learn(self, proposed: int, accepted: int) -> None:
        """Take note of a verification: tokens after the first wrong one say nothing."""
        for right in [True] * accepted + [False] * (accepted < proposed):
            self._right = self._right * _MEMORY + right
            self._seen = self._seen * _MEMORY + 1
        self._skipped, self._due = 0, 0.0
        self._pause = _PROBE_AFTER if accepted else min(2 * self._pause, _LONGEST_PAUSE)

    def _gain(self, proposals: int) -> float:
        return expected_gain(
            self.acceptance, proposals, self._costs, self._due / max(1.0, self._usual - self._said)
        )


Controller = FixedLength | AdaptiveLength


def expected_gain(acceptance: float, proposals: int, costs: StepCosts, each: float = 0.0) -> float:
    """Expected speed-up over single steps: tokens per verification over its time, and over what every token costs besides."""
    tokens = sum(acceptance**position for position in range(proposals + 1))
    return tokens / (costs.verification(proposals) + costs.drafting(proposals) + tokens * each)
