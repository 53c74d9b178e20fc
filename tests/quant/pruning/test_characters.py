"""Which characters a language has, and which tokens can occur in text of given characters."""

import hypothesis
import pytest
from hypothesis import strategies

from edgewhisper.models.generation import LANGUAGES
from edgewhisper.quant.pruning.characters import (
    ALWAYS_KEPT,
    Spelling,
    characters_of_language,
    languages_known,
)
from edgewhisper.quant.pruning.cldr import exemplar_characters


def test_every_language_of_whisper_has_characters() -> None:
    assert set(languages_known()) == set(LANGUAGES)
    assert all(len(characters_of_language(code)) >= 20 for code in LANGUAGES)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("en", "The quick brown fox: naïve, isn't it?"),
        ("de", "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich"),
        ("tr", "Pijamalı hasta yağız şoföre çabucak güvendi. İSTANBUL"),
        ("ru", "Съешь ещё этих мягких французских булок, да выпей чаю"),
        ("sr", "Ljubazni fenjerdžija. Љубазни фењерџија"),
        ("el", "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία"),
        ("vi", "Tiếng Việt có nhiều dấu thanh"),
        ("fa", "می\u200cخواهم ۱۲۳ کتاب"),
        ("hi", "हिन्दी में १२३"),
        ("ja", "日本語の「文」、カタカナ。"),
        ("zh", "你好,世界。漢字"),
        ("ko", "다람쥐 헌 쳇바퀴에 타고파"),
        ("ba", "Башҡорт теле"),
        ("la", "Gallia est omnis divisa"),
    ],
)
def test_sentences_of_a_language_are_made_of_its_characters(code: str, text: str) -> None:
    assert set(text) <= characters_of_language(code) | ALWAYS_KEPT


def test_scripts_of_other_languages_are_not_included() -> None:
    assert not characters_of_language("de") & set("яλ漢あ한")
    assert "ß" not in characters_of_language("en")
    assert not characters_of_language("zh") & set("aA")
    assert "a" not in ALWAYS_KEPT


def test_exemplar_sets_are_read_with_ranges_sequences_and_escapes() -> None:
    assert list(exemplar_characters("[a c-e {ch} \\- \\u200C \\[ é]")) == [*"acde", *"ch-\u200c[é"]


# Characters of one to four bytes, two of which begin alike and two of which end alike.
ALPHABET = "ab \u00e9\u0169\u6f22\u6f23\U0001f600"


@hypothesis.given(strategies.text(ALPHABET, min_size=1, max_size=8), strategies.data())
def test_every_part_of_a_text_can_occur(text: str, data: strategies.DataObject) -> None:
    encoded = text.encode()
    start = data.draw(strategies.integers(0, len(encoded) - 1))
    end = data.draw(strategies.integers(start + 1, len(encoded)))
    assert Spelling(ALPHABET).can_contain(encoded[start:end])


ITS_BYTES = sorted(set(ALPHABET.encode()))


@hypothesis.given(
    strategies.lists(strategies.sampled_from([*ITS_BYTES, 0xFF]), min_size=1, max_size=5).map(bytes)
)
def test_what_can_occur_is_a_part_of_some_text(token: bytes) -> None:
    """The oracle tries every way to complete the token with parts of single characters."""
    characters = [character.encode() for character in ALPHABET]
    beginnings = [b"", *(code[:end] for code in characters for end in range(1, len(code)))]
    endings = [b"", *(code[start:] for code in characters for start in range(1, len(code)))]
    possible = any(
        _made_of(begin + token + end, characters) for begin in beginnings for end in endings
    ) or any(token in code for code in characters)
    assert Spelling(ALPHABET).can_contain(token) == possible


@pytest.mark.parametrize(
    "token", [b"\xe6", b"\xe6\xbc", b"\xbc\xa2", b"\xa2a", b"a\xe6\xbc", b"\xa2 \xf0\x9f"]
)
def test_tokens_may_begin_and_end_within_a_character(token: bytes) -> None:
    assert Spelling(ALPHABET).can_contain(token)


@pytest.mark.parametrize("token", [b"c", b"\xe6\xbc\xa4", b"\xa4", b"a\xe7", b"\xff", b"\xc3\xa9\xa9"])
def test_parts_of_other_characters_cannot_occur(token: bytes) -> None:
    assert not Spelling(ALPHABET).can_contain(token)


def _made_of(data: bytes, characters: list[bytes]) -> bool:
    return not data or any(
        data.startswith(code) and _made_of(data[len(code) :], characters) for code in characters
    )
