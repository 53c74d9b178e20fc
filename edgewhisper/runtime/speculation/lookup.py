"""Drafts without a model: what followed the same tokens before.

The last tokens of the text are looked up in the text so far and in texts known before: a user's phrases, see `phrases`, or another
hypothesis of the same audio. What came after them there is proposed. It costs next to nothing, and is right where text repeats itself or is of few phrases:
commands, names, boilerplate.

Saxena, Prompt Lookup Decoding (2023); the map of a corpus is that of arXiv 2507.21522.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from ..protocols import CrossKV, Floats
from .drafter import Drafter, Patience

LONGEST, SHORTEST = 4, 2
"""Tokens that must agree; longer agreements go first."""


class TokenMap:
    """Where sequences of tokens occur, and what follows them; of several places the last one counts."""

    def __init__(self, texts: Iterable[Sequence[int]] = ()) -> None:
        """Take some texts, each a sequence of tokens on its own."""
        self._texts: list[list[int]] = []
        self._places: dict[tuple[int, ...], tuple[list[int], int]] = {}
        for text in texts:
            self.start()
            self.extend(text)

    def start(self) -> None:
        """What is added next is a text of its own."""
        self._texts.append([])

    def extend(self, tokens: Sequence[int]) -> None:
        """The last text goes on with these tokens."""
        text = self._texts[-1]
        for token in tokens:
            end = len(text)
            for length in range(SHORTEST, min(LONGEST, end) + 1):
                self._places[tuple(text[end - length :])] = (text, end)
            text.append(token)

    def follows(self, text: Sequence[int], count: int) -> Sequence[int]:
        """What came after the longest end of `text` that is known, at most `count` tokens; empty where none is."""
        for length in range(min(LONGEST, len(text)), SHORTEST - 1, -1):
            place = self._places.get(tuple(text[-length:]))
            if place is not None:
                found, position = place
                return found[position : position + count]
        return ()


class Known(Protocol):
    """Texts in which sequences can be looked up."""

    def follows(self, text: Sequence[int], count: int) -> Sequence[int]:
        """What came after the end of `text` there, at most `count` tokens; empty where it is not known."""
        ...


class LookupDrafter:
    """Proposes what followed the last tokens before: in this text, else in the texts known before."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._own = TokenMap()
        self._text: list[int] = []
        self._prompt_length = 0

    def begin(self, cross: CrossKV, prompt: Sequence[int]) -> None:
        """A window begins."""
        self._own = TokenMap([prompt])
        self._text = list(prompt)
        self._prompt_length = len(prompt)

    def propose(
        self, sampled: Sequence[int], count: int, patience: Patience, hidden: Floats | None = None
    ) -> Sequence[int]:
        """The tokens after the last place where the text's end stood."""
        new = sampled[len(self._text) - self._prompt_length :]
        self._own.extend(new)
        self._text += new
        return self._own.follows(self._text, count) or self._known.follows(self._text, count)

    def end(self) -> None:
        """The window is decoded."""
        self.begin(None, ())


class HypothesisDrafter:
    """Proposes what another decoding of the same audio said; where that does not go on, what another drafter says."""

    def __init__(self, hypothesis: Sequence[int], other: Drafter) -> None:
        self._hypothesis = list(hypothesis)
        self._known = TokenMap([hypothesis])
        self._other = other

    def begin(self, cross: CrossKV, prompt: Sequence[int]) -> None:
        """A window begins."""
        self._other.begin(cross, prompt)

    def propose(
        self, sampled: Sequence[int], count: int, patience: Patience, hidden: Floats | None = None
    ) -> Sequence[int]:
        """The hypothesis' next tokens while the text is its beginning, or after its last agreement with the text."""
        said = len(sampled)
        if list(sampled) == self._hypothesis[:said]:
            proposed: Sequence[int] = self._hypothesis[said : said + count]
        else:
            proposed = self._known.follows(sampled, count)
        return proposed or self._other.propose(sampled, count, patience, hidden)

    def end(self) -> None:
        """The window is decoded."""
        self._other.end()
