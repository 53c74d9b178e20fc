"""Proposals of heads: from the decoder's own hidden state, token by token."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..protocols import CrossKV, Floats
from .drafter import Patience, probability_of


class StateModel(Protocol):
    """What heads compute; see `runtime.heads.Heads`."""

    def reset(self, cross: CrossKV) -> None:
        """Attend to a window."""
        ...

    def release(self) -> None:
        """Let go of the window."""
        ...

    def begin(self, state: Floats) -> None:
        """Go on from a hidden state [d]."""
        ...

    def run(self, token: int) -> Floats:
        """The last token -> logits of the next one."""
        ...


class HeadsDrafter:
    """Proposes the likeliest tokens, as long as patience lasts."""

    def __init__(self, model: StateModel, tokens: NDArray[np.int64]) -> None:
        """Take the model and the ids that its logits stand for, [tokens]."""
        self._model = model
        self._tokens = tokens
        self._scratch = np.empty(len(tokens), np.float32)

    def begin(self, cross: CrossKV, prompt: Sequence[int]) -> None:
        """A window begins."""
        self._model.reset(cross)

    def propose(
        self, sampled: Sequence[int], count: int, patience: Patience, hidden: Floats | None
    ) -> Sequence[int]:
        """Nothing where there is no hidden state."""
        if hidden is None:
            return ()
        self._model.begin(hidden)
        token, proposed, certainty = sampled[-1], list[int](), 1.0
        while len(proposed) < count:
            row = self._model.run(token)
            best = int(row.argmax())
            certainty *= probability_of(row, best, self._scratch)
            token = int(self._tokens[best])
            proposed.append(token)
            if not patience.goes_on(len(proposed), certainty):
                break
        return proposed

    def end(self) -> None:
        """Let go of the window."""
        self._model.release()
