"""What proposes tokens."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ..protocols import CrossKV, Floats


class Patience(Protocol):
    """Says how long it pays to go on drafting."""

    def goes_on(self, drafted: int, probability: float) -> bool:
        """Whether to draft one more token after `drafted`, which are all right with this probability."""
        ...


class Drafter(Protocol):
    """Proposes what a sequence goes on with. Nothing it says changes the text, only how fast it comes."""

    def begin(self, cross: CrossKV, prompt: Sequence[int]) -> None:
        """A window begins: what it is about, and the tokens before the text."""
        ...

    def propose(
        self, sampled: Sequence[int], count: int, patience: Patience, hidden: Floats | None
    ) -> Sequence[int]:
        """At most `count` tokens after the prompt and `sampled`; fewer, or none, where there is nothing likely to say.

        `hidden` [d] is what the main decoder chose the last token by, before its head, where its graph gives that.
        """
        ...

    def end(self) -> None:
        """The window is decoded; let go of what belongs to it."""
        ...


def probability_of(logits: Floats, index: int, scratch: Floats) -> float:
    """The probability of the likeliest of some logits, at `index`; `scratch` has their shape."""
    np.subtract(logits, logits[index], out=scratch)
    np.exp(scratch, out=scratch)
    return 1.0 / float(scratch.sum())
