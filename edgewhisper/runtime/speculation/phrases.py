"""A corpus of phrases, looked up: what most often followed the last tokens there.

The corpus is one array of tokens; another has its places in the order of the tokens before them, the last one first, so that the places
after any sequence lie together and are found by bisection. 8 bytes a token, mapped from the file. (A token map as in arXiv 2507.21522, for
sequences of several lengths at once.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewhisper.errors import ArtifactError

LONGEST, SHORTEST = 4, 2
"""Tokens before a place that it is ordered by; at least so many must agree."""

END = -1
"""Ends each phrase in the corpus; follows nothing and is never proposed."""

_COMPARED = 64
"""Places at most whose following tokens are counted."""


@dataclass(frozen=True)
class Phrases:
    """A corpus.

    Attributes:
        tokens: of all phrases, `END` after each [n].
        order: places in `tokens`, ordered by the tokens before them [n].
    """

    tokens: NDArray[np.int32]
    order: NDArray[np.int32]

    @classmethod
    def of(cls, texts: Sequence[Sequence[int]]) -> "Phrases":
        """The corpus of some phrases."""
        tokens = np.array([token for text in texts for token in (*text, END)], np.int32)
        # Column k: the token k + 1 before each place.
        before = [
            np.concatenate([np.full(k, END, np.int32), tokens])[: len(tokens)] for k in range(1, LONGEST + 1)
        ]
        order = np.lexsort(before[::-1]) if len(tokens) else np.zeros(0, np.int64)
        return cls(tokens, order.astype(np.int32))

    def write(self, path: Path) -> None:
        """Write the corpus; raises OSError."""
        np.save(path, np.stack([self.tokens, self.order]), allow_pickle=False)

    @classmethod
    def read(cls, path: Path, vocab_size: int) -> "Phrases":
        """Map a corpus, of tokens below `vocab_size`, from a file.

        Raises:
            ArtifactError: it cannot be read, or is damaged.
        """
        try:
            both: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ArtifactError(f"{path}: cannot be read ({error}); build the artifact again") from None
        if both.ndim != 2 or both.shape[0] != 2 or both.dtype != np.int32:
            raise ArtifactError(f"{path}: holds no phrases; build the artifact again")
        tokens, order = both
        in_order = len(order) == 0 or (order.min() >= 0 and order.max() < len(tokens))
        in_vocabulary = len(tokens) == 0 or (tokens.min() >= END and tokens.max() < vocab_size)
        if not (in_order and in_vocabulary):
            raise ArtifactError(f"{path}: damaged; build the artifact again")
        return cls(tokens, order)

    def follows(self, text: Sequence[int], count: int) -> tuple[int, Sequence[int]]:
        """The longest end of `text` that is known, and what most often came after it: its length, 0 where none is, and at most `count` tokens."""
        first, last, depth = 0, len(self.order), 0
        for back in range(1, min(LONGEST, len(text)) + 1):
            found = self._narrowed(first, last, back, text[-back])
            if found[0] == found[1]:
                break
            (first, last), depth = found, back
        if depth < SHORTEST:
            return 0, ()
        # Of many places some, from the first to the last, as places with the same tokens before lie together.
        compared = np.unique(np.linspace(first, last - 1, min(_COMPARED, last - first)).astype(np.int64))
        places = self.order[compared]
        following = self.tokens[places]
        values, counts = np.unique(following[following != END], return_counts=True)
        if not len(values):
            return 0, ()
        place = int(places[following == values[counts.argmax()]][-1])
        phrase: list[int] = []
        for token in self.tokens[place : place + count].tolist():
            if token == END:
                break
            phrase.append(token)
        return depth, phrase

    def _narrowed(self, first: int, last: int, back: int, token: int) -> tuple[int, int]:
        """Of places first .. last, which agree in `back` - 1 tokens, those whose token `back` before is `token`."""
        return self._bisect(first, last, back, token), self._bisect(first, last, back, token + 1)

    def _bisect(self, first: int, last: int, back: int, token: int) -> int:
        while first < last:
            middle = (first + last) // 2
            place = int(self.order[middle]) - back
            if (int(self.tokens[place]) if place >= 0 else END) < token:
                first = middle + 1
            else:
                last = middle
        return first
