"""The choice of a token from one row of logits, with its log-probability."""

import math
from typing import Protocol

import numpy as np

from .protocols import Floats


class TokenChooser(Protocol):
    """Picks the next token."""

    def choose(self, row: Floats) -> tuple[int, float]:
        """The token picked from `row` [vocab], and its natural log-probability under softmax(row)."""
        ...


class Greedy:
    """Picks the likeliest token; among equals the lowest id."""

    def __init__(self, vocab_size: int) -> None:
        self._scratch = np.empty(vocab_size, dtype=np.float32)

    def choose(self, row: Floats) -> tuple[int, float]:
        """The likeliest token and its log-probability."""
        token = int(row.argmax())
        return token, -_log_total(row, row[token], self._scratch)


class Sampler:
    """Draws a token from softmax(row / temperature)."""

    def __init__(self, vocab_size: int, temperature: float, generator: "np.random.Generator") -> None:
        self._scratch = np.empty(vocab_size, dtype=np.float32)
        self._cumulative = np.empty(vocab_size, dtype=np.float64)
        self._temperature = np.float32(temperature)
        self._generator = generator

    def choose(self, row: Floats) -> tuple[int, float]:
        """A drawn token and its log-probability at temperature 1, as openai-whisper and transformers count it."""
        top = row.max()
        scratch = self._scratch
        np.subtract(row, top, out=scratch)
        scratch /= self._temperature
        np.exp(scratch, out=scratch)
        cumulative = self._cumulative
        cumulative[:] = scratch  # before the sum: adding up while converting takes ten times as long
        np.cumsum(cumulative, out=cumulative)
        # A draw in [0, total) lands right of every token without probability, so a forbidden one is never picked.
        draw = self._generator.random() * cumulative[-1]
        token = int(np.searchsorted(cumulative, draw, side="right"))
        return token, float(row[token] - top) - _log_total(row, top, scratch)


def probability(row: Floats, token: int) -> float:
    """softmax(row)[token]; `row` is left as it is."""
    top = row.max()
    return float(np.exp(row[token] - top) / np.exp(row - top).sum())


def _log_total(row: Floats, top: np.float32, scratch: Floats) -> float:
    """log(sum(exp(row - top)))."""
    np.subtract(row, top, out=scratch)
    np.exp(scratch, out=scratch)
    return math.log(float(scratch.sum()))
