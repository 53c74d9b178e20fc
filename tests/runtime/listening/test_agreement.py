"""Words are shown when two decodings in a row agree on them, and never taken back."""

import itertools

import hypothesis
import pytest
from hypothesis import strategies

from edgewhisper.runtime.listening.agreement import LocalAgreement


def shown(language: str, *texts: str) -> list[str | None]:
    agreement = LocalAgreement()
    return [agreement.add(text, language) for text in texts]


def test_what_two_decodings_agree_on_is_stable() -> None:
    texts = ("Turn on", "Turn on the night", "Turn on the light in the", "Turn on the light in the garage.")
    assert shown("en", *texts) == [None, "Turn on", "Turn on the", "Turn on the light in the"]


def test_what_stands_after_the_last_word_is_not_stable() -> None:
    texts = ("Play some jazz.", "Play some jazz.", "Play some jazz, then", "Play some jazz, then stop.")
    assert shown("en", *texts) == [None, "Play some jazz", None, "Play some jazz, then"]


def test_nothing_is_said_while_nothing_is_new() -> None:
    assert shown("en", "Stop", "Stop", "Stop", "") == [None, "Stop", None, None]
    assert shown("en", "...", "...", "... no", "... no") == [None, None, None, "... no"]


def test_a_word_is_not_stable_before_it_is_whole() -> None:
    assert shown("en", "St", "Stop", "Stop") == [None, None, "Stop"]


@pytest.mark.parametrize(
    ("language", "texts", "stable"),
    [
        ("zh", ("打开厨房。", "打开厨房的灯，", "打开厨房的灯。然后"), (None, "打开厨房", "打开厨房的灯")),
        ("ja", ("電気を", "電気をつけて、", "電気をつけて！"), (None, "電気を", "電気をつけて")),
        ("yue", ("開", "開燈"), (None, "開")),
        ("th", ("เปิดไ", "เปิดไฟ ใน", "เปิดไฟ ในครัว"), (None, "เปิดไ", "เปิดไฟ ใน")),
        ("th", ("ท", "ที่"), (None, None)),
    ],
)
def test_where_no_spaces_are_written_characters_are_agreed_on(
    language: str, texts: tuple[str, ...], stable: tuple[str | None, ...]
) -> None:
    """Each with the marks above and below it."""
    assert shown(language, *texts) == [*stable]


words = strategies.sampled_from(["a", "b", "a.", "b,", "。", "!"])


@pytest.mark.parametrize("language", ["en", "zh"])
@hypothesis.settings(max_examples=50)
@hypothesis.given(texts=strategies.lists(strategies.lists(words, max_size=5).map(" ".join), max_size=12))
def test_a_stable_text_only_grows(language: str, texts: list[str]) -> None:
    for before, after in itertools.pairwise(text for text in shown(language, *texts) if text is not None):
        assert after.startswith(before)
        assert len(after) > len(before)
