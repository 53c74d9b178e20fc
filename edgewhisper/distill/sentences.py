"""Draws sentences from a grammar and divides them into training and held-out sentences."""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from .english import ENGLISH
from .german import GERMAN
from .grammar import Grammar

GRAMMARS = {grammar.language: grammar for grammar in (ENGLISH, GERMAN)}

_HELD_OUT_ONE_IN = 12
"""One sentence in twelve never reaches training."""

_POLITE_SHARE = 0.05
_QUESTION_SHARE = 0.24
"""Share of questions among single commands."""


class Split(Enum):
    TRAINING = "training"
    HELD_OUT = "held-out"


@dataclass(frozen=True)
class Mixture:
    """Shares of the kinds of sentences; they add up to one."""

    single: float
    joined: float
    word_list: float
    interjection: float


EVALUATION_MIXTURE = Mixture(single=0.70, joined=0.18, word_list=0.09, interjection=0.03)

TRAINING_MIXTURE = Mixture(single=0.60, joined=0.16, word_list=0.21, interjection=0.03)
"""More word lists than in the evaluation: no context helps there, so nearly all remaining errors are in them."""


def split_of(sentence: str) -> Split:
    """Decides by the lower-cased text alone, so the same sentence can never be on both sides."""
    digest = hashlib.sha256(sentence.lower().encode()).digest()
    return Split.HELD_OUT if int.from_bytes(digest[:8]) % _HELD_OUT_ONE_IN == 0 else Split.TRAINING


def sentences(language: str, mixture: Mixture, split: Split, rng: random.Random) -> Iterator[str]:
    """Yields sentences of one split without end; the same one may come again."""
    grammar = GRAMMARS[language]
    while True:
        sentence = _draw(grammar, mixture, rng)
        if split_of(sentence) is split:
            yield sentence


def _draw(grammar: Grammar, mixture: Mixture, rng: random.Random) -> str:
    kind = rng.random()
    if kind < mixture.single:
        if rng.random() < _QUESTION_SHARE:
            return _written(grammar.question(rng), "?")
        text = grammar.statement(rng)
        return _written(_polite(grammar, text) if rng.random() < _POLITE_SHARE else text, ".")
    kind -= mixture.single
    if kind < mixture.joined:
        return _written(grammar.statement(rng) + rng.choice(grammar.joints) + grammar.statement(rng), ".")
    kind -= mixture.joined
    if kind < mixture.word_list:
        return _written(" ".join(rng.choice(grammar.lexicon) for _ in range(rng.randint(2, 5))), ".")
    interjection = rng.choice(grammar.interjections)
    return _written(f"{interjection}, {grammar.statement(rng)}" if rng.random() < 0.7 else interjection, ".")


def _polite(grammar: Grammar, statement: str) -> str:
    return f"{'please' if grammar.language == 'en' else 'bitte'} {statement}"


def _written(text: str, mark: str) -> str:
    return text[0].upper() + text[1:] + mark
