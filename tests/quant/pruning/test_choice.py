"""How a choice of vocabulary is written, and how a wrong one is refused."""

from pathlib import Path

import pytest

from edgewhisper.errors import UsageError
from edgewhisper.quant.pruning.choice import Characters, Corpus, Languages, parse_vocabulary_choice


def test_the_three_forms() -> None:
    assert parse_vocabulary_choice("languages:en, DE,en") == Languages(("en", "de"))
    assert parse_vocabulary_choice("characters:ab:ä") == Characters(frozenset("ab:ä"))


def test_a_corpus_is_read_and_named_without_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("\ufeffein Wort\n", encoding="utf-8")
    choice = parse_vocabulary_choice(f"corpus:{path}")
    assert choice == Corpus("words.txt", "ein Wort\n")
    assert str(tmp_path) not in str(choice)


def test_the_record_of_a_corpus_tells_its_contents_apart() -> None:
    assert str(Corpus("words.txt", "a")) != str(Corpus("words.txt", "b"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("en", "languages:en,de"),
        ("", "languages:en,de"),
        ("languages:", "languages:en,de"),
        ("words:abc", "languages:en,de"),
        ("languages:en,xx", "no language 'xx'"),
        ("languages:,", "no language ','"),
        ("corpus:missing.txt", "cannot be read"),
    ],
)
def test_what_is_no_choice_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_vocabulary_choice(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"), [(b"\xff\xfe", "not UTF-8"), (b" \n", "is empty"), (b"", "is empty")]
)
def test_a_corpus_without_text_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=words) as caught:
        parse_vocabulary_choice(f"corpus:{path}")
    assert str(path) in str(caught.value)


def test_a_folder_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        parse_vocabulary_choice(f"corpus:{tmp_path}")
