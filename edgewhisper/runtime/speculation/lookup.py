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


_REMEMBERED = 4000
"""Tokens of a recording's text that are looked up; then it begins anew, so that memory does not grow with the length."""


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

    def follows(self, text: Sequence[int], count: int) -> tuple[int, Sequence[int]]:
        """The longest end of `text` that is known, and what came after it: its length, 0 where none is, and at most `count` tokens."""
        for length in range(min(LONGEST, len(text)), SHORTEST - 1, -1):
            place = self._places.get(tuple(text[-length:]))
            if place is not None:
                found, position = place
                return length, found[position : position + count]
        return 0, ()


class Known(Protocol):
    """Texts in which sequences can be looked up."""

    def follows(self, text: Sequence[int], count: int) -> tuple[int, Sequence[int]]:
        """How many tokens of the end of `text` are known there, and what came after them, at most `count` tokens."""
        ...


class LookupDrafter:
    """Proposes what followed the last tokens before: in the recording's text so far or in the texts known before, wherever more agrees."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._own, self._length = TokenMap(), 0
        self._text: list[int] = []
        self._prompt_length = 0

    def begin(self, cross: CrossKV, prompt: Sequence[int]) -> None:
        """A window begins; the text of those before is remembered."""
        if self._length > _REMEMBERED:
            self._own, self._length = TokenMap(), 0
        self._own.start()
        self._text, self._prompt_length = [], len(prompt)
        self._read(prompt)

    def propose(
        self, sampled: Sequence[int], count: int, patience: Patience, hidden: Floats | None = None
    ) -> Sequence[int]:
        """The tokens after the last place where the text's end stood."""
        self._read(sampled[len(self._text) - self._prompt_length :])
        own, known = (where.follows(self._text, count) for where in (self._own, self._known))
        return known[1] if known[0] > own[0] else own[1]

    def end(self) -> None:
        """The window is decoded."""

    def _read(self, tokens: Sequence[int]) -> None:
        self._own.extend(tokens)
        self._text += tokens
        self._length += len(tokens)


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
            _, proposed = self._known.follows(sampled, count)
        return proposed or self._other.propose(sampled, count, patience, hidden)

    def end(self) -> None:
        """The window is decoded."""
        self._other.end()
