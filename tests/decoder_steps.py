"""Running the same tokens in different steps, for tests of exactness."""

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgewhisper.runtime.decoder import Decoder

MOST_TOKENS = 16


def one_at_a_time(decoder: Decoder, tokens: list[int]) -> NDArray[np.float32]:
    """Logits [len(tokens), vocab] of single steps."""
    decoder.rollback(0)
    return np.concatenate([decoder.run([token]).copy() for token in tokens])


def in_drawn_steps(decoder: Decoder, tokens: list[int], data: st.DataObject) -> NDArray[np.float32]:
    """Logits [len(tokens), vocab] of steps whose numbers of tokens are drawn."""
    decoder.rollback(0)
    rows = []
    while decoder.length < len(tokens):
        count = data.draw(st.integers(1, min(MOST_TOKENS, len(tokens) - decoder.length)))
        rows.append(decoder.run(tokens[decoder.length : decoder.length + count]).copy())
    return np.concatenate(rows)
