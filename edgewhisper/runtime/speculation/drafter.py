"""What proposes tokens."""

from collections.abc import Sequence
from typing import Protocol

from ..protocols import CrossKV


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

    def propose(self, sampled: Sequence[int], count: int, patience: Patience) -> Sequence[int]:
        """At most `count` tokens after the prompt and `sampled`; fewer, or none, where there is nothing likely to say."""
        ...

    def end(self) -> None:
        """The window is decoded; let go of what belongs to it."""
        ...
