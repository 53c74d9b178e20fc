"""Errors of a hypothesis against an independent edit distance, in any alphabet."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewhisper.bench.evaluation.counts import Counts, aligned, count, repetitions


def distance(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Levenshtein's, by its table."""
    table = np.zeros((len(reference) + 1, len(hypothesis) + 1), int)
    table[:, 0], table[0] = range(len(reference) + 1), range(len(hypothesis) + 1)
    for i, left in enumerate(reference, 1):
        for j, right in enumerate(hypothesis, 1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (left != right))
    return int(table[-1, -1])


ALPHABETS = ("ab", "äöß", "дом", "日本語", "مرحبا", "हिन्दी", "한국", "0'")


def texts(seed: int) -> tuple[str, str]:
    """Two texts that have most words in common; one in ten is empty."""
    source = random.Random(seed)
    letters = source.choice(ALPHABETS)
    words = ["".join(source.choices(letters, k=source.randint(1, 4))) for _ in range(source.randint(1, 20))]
    other = [word for word in words if source.random() > 0.15]
    other = [source.choice(words) if source.random() < 0.15 else word for word in other]
    first, second = (" ".join(x) if source.random() > 0.1 else "" for x in (words, other))
    return first, second


@pytest.mark.parametrize("seed", range(200))
def test_edits_are_those_of_an_independent_distance(seed: int) -> None:
    reference, hypothesis = texts(seed)
    found = count(reference, hypothesis)
    words, written = reference.split(), hypothesis.split()
    assert found.errors == distance(words, written)
    assert found.character_errors == distance(reference, hypothesis)
    assert found.words == len(words) == found.hits + found.substitutions + found.deletions
    assert found.characters == len(reference)
    assert found.hits + found.substitutions + found.insertions == len(written)
    expected = found.errors / len(words) if words else float(bool(written))
    assert found.wer == expected


def test_two_empty_texts_have_no_errors() -> None:
    assert count("", "") == Counts(0, 0, 0, 0, 0, 0, 0, 0)


def test_what_nobody_repeated_is_counted() -> None:
    phrase = "thank you for watching this"
    assert repetitions(phrase.split()) == 0
    assert count(phrase, f"{phrase} {phrase}").repeated == 1
    assert count(f"{phrase} {phrase}", f"{phrase} {phrase}").repeated == 0
    assert count("", " ".join([phrase] * 4)).repeated == 3 * 5 - 4


@given(st.lists(st.sampled_from("abcd"), max_size=30))
def test_repetitions_are_those_found_by_looking_back(words: list[str]) -> None:
    grams = [tuple(words[i : i + 5]) for i in range(max(0, len(words) - 4))]
    assert repetitions(words) == sum(gram in grams[:i] for i, gram in enumerate(grams))


def test_texts_are_aligned_word_below_word() -> None:
    assert aligned("turn the lights on now", "turn lights off now please") == "\n".join(
        [
            "REF turn the lights on  now ******",
            "HYP turn *** lights off now please",
            "         D          S       I",
        ]
    )
    assert aligned("", "you") == "REF ***\nHYP you\n    I"


@given(
    st.lists(st.sampled_from(["aa", "bbbb", "c"]), max_size=40),
    st.lists(st.sampled_from(["aa", "bbbb", "c"]), max_size=40),
)
def test_an_alignment_holds_every_edit_and_stays_narrow(left: list[str], right: list[str]) -> None:
    reference, hypothesis = " ".join(left), " ".join(right)
    lines = aligned(reference, hypothesis, width=30).splitlines()
    assert all(len(line) <= 34 for line in lines)
    marks = "".join(line for line in lines[2::3])
    found = count(reference, hypothesis)
    assert [marks.count(mark) for mark in "SDI"] == [found.substitutions, found.deletions, found.insertions]
