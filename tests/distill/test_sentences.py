"""The grammars: well-formed sentences, spelled numbers, and a split that nothing crosses."""

import random
from itertools import islice

import pytest

from edgewhisper.distill import english, german
from edgewhisper.distill.sentences import EVALUATION_MIXTURE, TRAINING_MIXTURE, Split, sentences, split_of

LANGUAGES = ("en", "de")


def draw(language: str, split: Split, count: int, seed: int = 0) -> list[str]:
    mixture = TRAINING_MIXTURE if split is Split.TRAINING else EVALUATION_MIXTURE
    return list(islice(sentences(language, mixture, split, random.Random(seed)), count))


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_begin_with_a_capital_end_with_a_mark_and_leave_no_slot_open(language: str) -> None:
    for sentence in draw(language, Split.TRAINING, 3000):
        assert sentence[0].isupper()
        assert sentence[-1] in ".?"
        assert not set("{}[]") & set(sentence)
        assert sentence == " ".join(sentence.split())


@pytest.mark.parametrize("language", LANGUAGES)
def test_numbers_are_written_as_words(language: str) -> None:
    assert not any(character.isdigit() for text in draw(language, Split.TRAINING, 3000) for character in text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_there_are_thousands_of_sentences(language: str) -> None:
    assert len(set(draw(language, Split.TRAINING, 10_000))) > 7000


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_held_out_sentence_is_in_the_training_split_whatever_its_case(language: str) -> None:
    training = {sentence.lower() for sentence in draw(language, Split.TRAINING, 20_000)}
    held_out = {sentence.lower() for sentence in draw(language, Split.HELD_OUT, 2000)}
    assert not training & held_out


def test_the_split_does_not_look_at_the_case() -> None:
    for sentence in draw("en", Split.HELD_OUT, 100):
        assert split_of(sentence.upper()) is Split.HELD_OUT


def test_the_same_seed_draws_the_same_sentences() -> None:
    assert draw("de", Split.TRAINING, 500, seed=4) == draw("de", Split.TRAINING, 500, seed=4)
    assert draw("de", Split.TRAINING, 500, seed=4) != draw("de", Split.TRAINING, 500, seed=5)


def test_german_uses_umlauts_and_capitalised_nouns() -> None:
    text = " ".join(draw("de", Split.TRAINING, 3000))
    assert set("äöüßÄÖ") <= set(text)
    assert " Küche" in text
    assert " küche" not in text


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "zero"), (13, "thirteen"), (40, "forty"), (42, "forty-two"), (300, "three hundred"),
     (315, "three hundred and fifteen"), (999, "nine hundred and ninety-nine")],
)  # fmt: skip
def test_english_numbers(value: int, written: str) -> None:
    assert english.number(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "null"), (1, "eins"), (16, "sechzehn"), (17, "siebzehn"), (21, "einundzwanzig"), (30, "dreißig"),
     (42, "zweiundvierzig"), (101, "einhunderteins"), (315, "dreihundertfünfzehn"),
     (777, "siebenhundertsiebenundsiebzig")],
)  # fmt: skip
def test_german_numbers(value: int, written: str) -> None:
    assert german.number(value) == written


@pytest.mark.parametrize("number", [english.number, german.number])
def test_no_two_numbers_are_written_alike(number: object) -> None:
    assert callable(number)
    assert len({number(value) for value in range(1000)}) == 1000
