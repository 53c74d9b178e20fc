"""Error rates of results, with intervals, and the difference between two artifacts on the same recordings."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgewhisper.bench.run import Accuracy

from .counts import Counts, count
from .normaliser import normaliser
from .results import Result

_RESAMPLES = 2000
_SEED = 0
_CONFIDENCE = 0.95

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Scored:
    """A result with a reference, and its errors; `language` is that of the normaliser."""

    result: Result
    language: str | None
    reference: str
    text: str
    counts: Counts


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Score:
    """Of all results of an artifact.

    Attributes:
        recordings: that have a reference with words and were transcribed.
        words: of the references.
        wer: edits of words over words of the references.
        cer: the same of characters.
        substitutions, deletions, insertions: of words.
        silent: recordings whose reference is empty.
        written_on_silence: how many of those got text.
        words_on_silence: that were written there.
        repeated: phrases of five words that came again though nobody repeated them.
        recordings_with_repeated: that have such.
        failed: recordings that could not be transcribed.
        without_reference: that were, but nobody knows what is said.
        audio, seconds: of sound, and what transcribing it took.
    """

    recordings: int
    words: int
    wer: Interval
    cer: Interval
    substitutions: int
    deletions: int
    insertions: int
    silent: int
    written_on_silence: int
    words_on_silence: int
    repeated: int
    recordings_with_repeated: int
    failed: int
    without_reference: int
    audio: float
    seconds: float

    def accuracy(
        self, corpus: str, delta: Interval | None = None, same_tokens: float | None = None
    ) -> Accuracy:
        """As a benchmark run states it."""
        change = None if delta is None else (delta.value, delta.low, delta.high)
        return Accuracy(
            corpus,
            self.words,
            self.wer.value,
            self.wer.low,
            self.wer.high,
            self.cer.value,
            change,
            same_tokens,
        )


def score_each(
    results: Iterable[Result], language: Callable[[Result], str | None] = lambda result: result.language
) -> tuple[list[Scored], list[Result]]:
    """Results with a reference, scored after Whisper's normaliser for their language, and the others.

    Args:
        results: of one artifact.
        language: of each; as it was transcribed in, if nothing else is said.

    Raises:
        MissingDependencyError: the normaliser is not installed.
    """
    scored: list[Scored] = []
    others: list[Result] = []
    for result in results:
        if result.reference is None or result.text is None:
            others.append(result)
            continue
        spoken = language(result)
        normalise = normaliser(spoken)
        reference, text = (
            " ".join(normalise(result.reference).split()),
            " ".join(normalise(result.text).split()),
        )
        scored.append(Scored(result, spoken, reference, text, count(reference, text)))
    return scored, others


def summarise(scored: Sequence[Scored], others: Sequence[Result]) -> Score:
    """The score of an artifact; rates are not numbers where nothing is said."""
    spoken = [item.counts for item in scored if item.counts.words]
    silent = [item.counts for item in scored if not (item.result.reference or "").strip()]
    failed = [result for result in others if result.text is None]
    results = [*(item.result for item in scored), *others]
    return Score(
        recordings=len(spoken),
        words=sum(counts.words for counts in spoken),
        wer=_rate(_column(spoken, lambda x: x.errors), _column(spoken, lambda x: x.words)),
        cer=_rate(_column(spoken, lambda x: x.character_errors), _column(spoken, lambda x: x.characters)),
        substitutions=sum(counts.substitutions for counts in spoken),
        deletions=sum(counts.deletions for counts in spoken),
        insertions=sum(counts.insertions for counts in spoken),
        silent=len(silent),
        written_on_silence=sum(counts.insertions > 0 for counts in silent),
        words_on_silence=sum(counts.insertions for counts in silent),
        repeated=sum(item.counts.repeated for item in scored),
        recordings_with_repeated=sum(item.counts.repeated > 0 for item in scored),
        failed=len(failed),
        without_reference=len(others) - len(failed),
        audio=sum(result.audio for result in results),
        seconds=sum(result.seconds for result in results),
    )


@dataclass(frozen=True)
class Comparison:
    """An artifact against another on the recordings that both transcribed.

    Attributes:
        recordings: how many those are.
        delta: difference of the word error rates; positive is worse than the other.
        p_value: the chance of a difference as large if both were equally good: signs of the recordings' differences at random.
        better, worse, same: recordings with fewer, more, as many errors.
        same_tokens: share of the other's tokens that are written in the same order; None where the vocabularies differ.
    """

    recordings: int
    delta: Interval
    p_value: float
    better: int
    worse: int
    same: int
    same_tokens: float | None


def compare(
    baseline: Sequence[Scored], scored: Sequence[Scored], *, same_vocabulary: bool = True
) -> Comparison:
    """Compare word errors recording by recording."""
    before: Mapping[str, Scored] = {item.result.key: item for item in baseline if item.counts.words}
    pairs = [
        (before[item.result.key], item) for item in scored if item.counts.words and item.result.key in before
    ]
    words = _column([first.counts for first, _ in pairs], lambda x: x.words)
    change = np.array([second.counts.errors - first.counts.errors for first, second in pairs], np.int64)
    random, seen = np.random.default_rng(_SEED), abs(int(change.sum()))
    extreme = sum(
        abs(int((change * random.choice((-1, 1), len(change))).sum())) >= seen for _ in range(_RESAMPLES)
    )
    return Comparison(
        len(pairs),
        _rate(change, words),
        (extreme + 1) / (_RESAMPLES + 1),
        int((change < 0).sum()),
        int((change > 0).sum()),
        int((change == 0).sum()),
        _same_tokens(pairs) if same_vocabulary else None,
    )


def _same_tokens(pairs: Sequence[tuple[Scored, Scored]]) -> float:
    import jiwer

    kept = total = 0
    for first, second in pairs:
        if first.result.tokens:
            texts = (" ".join(map(str, item.result.tokens)) for item in (first, second))
            kept += jiwer.process_words(*texts).hits if second.result.tokens else 0
            total += len(first.result.tokens)
    return kept / total if total else 1.0


def _column(counts: Sequence[Counts], value: Callable[[Counts], int]) -> Integers:
    return np.array([value(x) for x in counts], np.int64)


def _rate(errors: Integers, sizes: Integers) -> Interval:
    """The sum of errors over that of sizes, and the interval of resampled recordings."""
    if not sizes.sum():
        return Interval(float("nan"), float("nan"), float("nan"))
    random = np.random.default_rng(_SEED)
    rates = np.empty(_RESAMPLES)
    for index in range(_RESAMPLES):  # row by row, as a corpus may have a hundred thousand recordings
        drawn = random.integers(len(sizes), size=len(sizes))
        rates[index] = errors[drawn].sum() / max(1, sizes[drawn].sum())
    low, high = np.quantile(rates, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return Interval(float(errors.sum() / sizes.sum()), float(low), float(high))
