"""Rates, intervals and the difference between artifacts, against what can be computed otherwise."""

import math

import jiwer
import numpy as np
import pytest

from edgewhisper.bench.evaluation.results import Result
from edgewhisper.bench.evaluation.scores import compare, score_each, summarise


def result(key: str, reference: str | None, text: str | None, tokens: tuple[int, ...] = ()) -> Result:
    return Result(key, "", reference, text, "en", tokens, audio=2.0, seconds=0.5)


RESULTS = [
    result("a", "Turn the lights on.", "turn the light on"),
    result("b", "It's twenty-one degrees", "it is 21 degrees"),
    result("c", "", "you"),
    result("d", "", ""),
    result("e", None, "who knows"),
    result("f", "gone", None),
    result("g", "red green blue", "red green blue red green blue red green blue"),
]


def test_the_rate_is_that_of_all_words_together() -> None:
    scored, others = score_each(RESULTS)
    score = summarise(scored, others)
    spoken = [item for item in scored if item.reference]
    assert score.wer.value == jiwer.wer([x.reference for x in spoken], [x.text for x in spoken])
    assert score.cer.value == jiwer.cer([x.reference for x in spoken], [x.text for x in spoken])
    assert (score.recordings, score.words) == (3, 4 + 4 + 3)
    assert (score.substitutions, score.deletions, score.insertions) == (1, 0, 6)
    assert (score.silent, score.written_on_silence, score.words_on_silence) == (2, 1, 1)
    assert (score.failed, score.without_reference) == (1, 1)
    assert score.recordings_with_repeated == 1
    assert score.seconds / score.audio == 0.25
    assert [item.result.key for item in scored] == ["a", "b", "c", "d", "g"]


def test_what_has_no_words_has_no_rate() -> None:
    score = summarise(*score_each([result("c", "", "you")]))
    assert math.isnan(score.wer.value)
    assert score.words_on_silence == 1


def many(seed: int, error: float, count: int = 300) -> list[Result]:
    """Recordings of ten words, each wrong with a probability."""
    random = np.random.default_rng(seed)
    return [
        result(
            f"{i}",
            " ".join(["word"] * 10),
            " ".join("wort" if x < error else "word" for x in random.random(10)),
        )
        for i in range(count)
    ]


def test_the_interval_is_that_of_the_normal_approximation() -> None:
    score = summarise(*score_each(many(1, 0.2)))
    deviation = math.sqrt(0.2 * 0.8 / 3000)
    assert score.wer.low == pytest.approx(score.wer.value - 1.96 * deviation, abs=0.3 * deviation)
    assert score.wer.high == pytest.approx(score.wer.value + 1.96 * deviation, abs=0.3 * deviation)


def test_a_real_difference_is_found_and_chance_is_not() -> None:
    baseline, worse, alike = (
        score_each(many(seed, error))[0] for seed, error in ((1, 0.1), (2, 0.15), (3, 0.1))
    )
    found = compare(baseline, worse)
    assert found.p_value < 0.01
    assert found.delta.low > 0
    rates = [sum(item.counts.errors for item in scored) / 3000 for scored in (baseline, worse)]
    assert found.delta.value == pytest.approx(rates[1] - rates[0])
    assert found.better + found.worse + found.same == found.recordings == 300
    assert found.worse > found.better
    none = compare(baseline, alike)
    assert none.p_value > 0.05
    assert none.delta.low < 0 < none.delta.high


def test_an_artifact_is_as_good_as_itself() -> None:
    scored, _ = score_each(many(1, 0.2))
    found = compare(scored, scored)
    assert (found.delta.value, found.delta.low, found.delta.high, found.p_value) == (0, 0, 0, 1)
    assert (found.better, found.worse) == (0, 0)


def test_tokens_are_compared_in_order_where_the_vocabularies_are_one() -> None:
    first = score_each([result("a", "x y", "x y", (1, 2, 3, 4)), result("b", "z", "z", (5,))])[0]
    second = score_each([result("a", "x y", "x y", (1, 9, 3)), result("c", "z", "z", (5,))])[0]
    assert compare(first, second).same_tokens == 2 / 4
    assert compare(first, second).recordings == 1
    assert compare(first, second, same_vocabulary=False).same_tokens is None
