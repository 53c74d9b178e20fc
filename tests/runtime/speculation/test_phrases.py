"""A corpus that is looked up: what most often followed, found like by reading all of it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewhisper.errors import ArtifactError
from edgewhisper.runtime.speculation.phrases import END, LONGEST, SHORTEST, Phrases

TEXTS = st.lists(st.lists(st.integers(0, 4), max_size=12), max_size=8)


def followers(texts: Sequence[Sequence[int]], text: Sequence[int]) -> Counter[int]:
    """What follows the longest end of `text` that occurs in the corpus, and how often; read from front to back."""
    corpus = [token for phrase in texts for token in (*phrase, END)]
    for length in range(min(LONGEST, len(text)), SHORTEST - 1, -1):
        end = list(text[-length:])
        found = Counter(
            corpus[place] for place in range(length, len(corpus)) if corpus[place - length : place] == end
        )
        if found:
            return found
    return Counter()


@given(texts=TEXTS, text=st.lists(st.integers(0, 4), max_size=6), count=st.integers(1, 6))
def test_proposals_are_what_most_often_followed(texts: list[list[int]], text: list[int], count: int) -> None:
    agreeing, proposed = Phrases.of(texts).follows(text, count)
    found = followers(texts, text)
    found.pop(END, None)
    assert len(proposed) <= count
    if not found:
        assert (agreeing, proposed) == (0, ())
        return
    assert SHORTEST <= agreeing <= LONGEST
    assert found[proposed[0]] == max(found.values())
    whole = [*text[-agreeing:], *proposed]  # it goes on as a phrase of the corpus does
    assert any(
        phrase[place : place + len(whole)] == whole for phrase in texts for place in range(len(phrase))
    )


def test_what_followed_most_often_is_found_among_many_places() -> None:
    texts = [[1, 5, 6, 9]] * 100 + [[2, 5, 6, 8]] * 1000
    assert Phrases.of(texts).follows([3, 5, 6], 1) == (2, [8])


@given(texts=TEXTS)
def test_a_file_holds_the_corpus(texts: list[list[int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("phrases") / "phrases.npy"
    phrases = Phrases.of(texts)
    phrases.write(path)
    again = Phrases.read(path, 5)
    np.testing.assert_array_equal(again.tokens, phrases.tokens)
    np.testing.assert_array_equal(again.order, phrases.order)


@given(data=st.binary(max_size=200))
def test_any_bytes_give_one_line(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("phrases") / "phrases.npy"
    path.write_bytes(data)
    with pytest.raises(ArtifactError) as caught:
        Phrases.read(path, 5)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 4), np.int32),
        np.zeros((2, 4), np.int64),
        np.array([[1, 2], [0, 7]], np.int32),
        np.array([[1, 5], [0, 1]], np.int32),
        np.array([[1, -2], [0, 1]], np.int32),
    ],
)
def test_what_is_no_corpus_is_refused(array: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "phrases.npy", array)
    with pytest.raises(ArtifactError, match="build the artifact again"):
        Phrases.read(tmp_path / "phrases.npy", 5)
