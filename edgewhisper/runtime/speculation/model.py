"""Drafts by a small decoder over the main decoder's keys and values, or over those of an encoder of its own."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..protocols import CrossKV, Decoder, Floats
from .drafter import Patience, probability_of


def _same(cross: CrossKV) -> CrossKV:
    return cross


class ModelDrafter:
    """Guesses greedily, token after token.

    Its cache holds the text so far, with what it proposed last: tokens that were wrong are taken back when it is asked again.
    """

    def __init__(
        self,
        decoder: Decoder,
        tokens: NDArray[np.int64],
        encode: Callable[[CrossKV], CrossKV] = _same,
    ) -> None:
        """Take the draft's decoder, the ids that its logits stand for [tokens], and what turns the main encoder's keys and values
        of a window into those that it reads; called when the window's first token is guessed."""
        self._decoder = decoder
        self._tokens = tokens
        self._encode = encode
        self._scratch = np.empty(len(tokens), np.float32)
        self._read: list[int] = []
        self._prompt: tuple[int, ...] = ()
        self._cross: CrossKV | None = None
        self._own: CrossKV | None = None

    def begin(self, cross: CrossKV, prompt: Sequence[int]) -> None:
        """A window begins; decoded once more, it is read from the cache."""
        if cross is not self._cross or tuple(prompt) != self._prompt:
            if cross is not self._cross:
                self._own = None
            self._cross, self._prompt = cross, tuple(prompt)
            self._read = []
            if self._own is not None:
                self._decoder.reset(self._own)

    def propose(
        self, sampled: Sequence[int], count: int, patience: Patience, hidden: Floats | None = None
    ) -> Sequence[int]:
        """The likeliest tokens after the prompt and `sampled`, as long as patience lasts."""
        if self._own is None:
            self._own = self._encode(self._cross)
            self._decoder.reset(self._own)
        text = [*self._prompt, *sampled]
        known = self._agreement(text)
        self._decoder.rollback(known)
        del self._read[known:]
        count = min(count, self._decoder.max_length - len(text) + 1)
        proposed: list[int] = []
        unread, certainty = text[known:], 1.0
        while len(proposed) < count:
            row = self._decoder.run(unread, len(unread) - 1)[-1]
            self._read += unread
            best = int(row.argmax())
            certainty *= probability_of(row, best, self._scratch)
            proposed.append(int(self._tokens[best]))
            unread = proposed[-1:]
            if not patience.goes_on(len(proposed), certainty):
                break
        return proposed

    def amend(self, proposed: Sequence[int]) -> None:
        """Take it that these were proposed last; benchmarks say so, to be right as often as they want."""
        # The last one is not in the cache yet.
        self._read[len(self._read) - len(proposed) + 1 :] = proposed[:-1]

    def end(self) -> None:
        """Let go of the window."""
        self._decoder.release()
        self._cross, self._own, self._prompt, self._read = None, None, (), []

    def _agreement(self, text: Sequence[int]) -> int:
        """How many tokens of the cache are the text's; at most all but the last, whose logits are wanted."""
        most = min(len(self._read), len(text) - 1)
        return next((i for i in range(most) if self._read[i] != text[i]), most)
