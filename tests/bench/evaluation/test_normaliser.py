"""The normaliser is Whisper's own."""

import warnings
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewhisper.bench.evaluation import normaliser as module
from edgewhisper.bench.evaluation.normaliser import normaliser
from edgewhisper.errors import MissingDependencyError


@pytest.fixture(scope="module")
def originals() -> tuple[Callable[[str], str], Callable[[str], str]]:
    """The package's own, for English and for other languages."""
    from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        return EnglishTextNormalizer(), BasicTextNormalizer()


@given(text=st.text(st.characters(codec="utf-8"), max_size=60))
def test_texts_are_those_of_openais_package(
    originals: tuple[Callable[[str], str], Callable[[str], str]], text: str
) -> None:
    english, basic = originals
    assert normaliser("en")(text) == english(text)
    assert normaliser("de")(text) == normaliser(None)(text) == basic(text)


def test_english_spellings_are_made_alike() -> None:
    english = normaliser("en")
    assert english("Mr. Grey won't pay twenty-one dollars") == english("mister gray will not pay $21")
    assert normaliser("de")("Größe!").strip() == "größe"


def test_without_its_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for cached in (module._module, module._english, module._basic):
        cached.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install edgewhisper\[eval,vocab\]"):
        normaliser("en")
    monkeypatch.undo()
    assert normaliser("en")("A") == "a"
