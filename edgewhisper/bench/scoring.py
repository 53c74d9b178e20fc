"""Word and character error rates with bootstrap intervals."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import jiwer
import numpy as np

_RESAMPLES = 2000
_SEED = 0


@dataclass(frozen=True)
class ErrorRate:
    """A word error rate (0.02 is 2 %) with its 95 % interval over recordings, and the character error rate."""

    wer: float
    low: float
    high: float
    cer: float
    reference_words: int


def normalise(text: str) -> str:
    """Lower case, hyphens as blanks, no punctuation; apostrophes and umlauts stay."""
    lowered = unicodedata.normalize("NFC", text).lower().replace("-", " ")
    return " ".join(re.sub(r"[^\w' ]+", " ", lowered).split())


def error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> ErrorRate:
    """Scores normalised texts; the interval resamples recordings with replacement.

    Every reference needs at least one word.
    """
    pairs = [(normalise(r), normalise(h)) for r, h in zip(references, hypotheses, strict=True)]
    outcomes = [jiwer.process_words(reference, hypothesis) for reference, hypothesis in pairs]
    errors = np.array([o.substitutions + o.deletions + o.insertions for o in outcomes])
    words = np.array([o.hits + o.substitutions + o.deletions for o in outcomes])
    draws = np.random.default_rng(_SEED).integers(len(pairs), size=(_RESAMPLES, len(pairs)))
    resampled = errors[draws].sum(1) / words[draws].sum(1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    cer = jiwer.cer([reference for reference, _ in pairs], [hypothesis for _, hypothesis in pairs])
    return ErrorRate(float(errors.sum() / words.sum()), float(low), float(high), float(cer), int(words.sum()))
