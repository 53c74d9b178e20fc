"""Evaluation sets of a build: recordings with what is said in them, every one of which can be used."""

from pathlib import Path

from edgewhisper.bench.corpora.open import open_corpus
from edgewhisper.bench.corpora.utterance import Utterance
from edgewhisper.errors import UsageError

from .recordings import BUNDLED_RECORDINGS


def read_transcripts(corpus: str | Path | None) -> list[Utterance]:
    """The recordings of an evaluation set.

    Args:
        corpus: what `open_corpus` reads; None: the bundled recordings.

    Raises:
        UsageError: the corpus, a recording or a transcript is missing or cannot be read, or nothing is said in any.
        MissingDependencyError: a package that reading it needs.
    """
    corpus = corpus or BUNDLED_RECORDINGS
    spoken = list(open_corpus(corpus))
    for utterance in spoken:
        if utterance.problem is not None:
            raise UsageError(
                f"{corpus}: {utterance.key}: {utterance.problem}; an evaluation set has both, correct it or take the recording out"
            )
    if not any((utterance.text or "").strip() for utterance in spoken):
        raise UsageError(f"{corpus}: its transcripts hold no word; give recordings of speech")
    return spoken
