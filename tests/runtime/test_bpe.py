"""Byte-level BPE, against `tokenizers`."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewhisper.errors import ArtifactError, UsageError
from edgewhisper.runtime.bpe import BytePairEncoder, byte_letters, read_encoder, split_words

CORPUS = [
    "Turn the lights on in the kitchen, please. It's what we've asked for; they'll see.",
    "Schalte das Licht in der Küche ein und größer als zwölf Uhr fünfzehn.",
    "The the then there their theirs, 1234 12 24:00  and   more\n\nlines\tand tabs.",
]
# Letters, numbers, marks, punctuation, spaces of many kinds; long runs and contractions among them.
alphabet = st.one_of(
    st.sampled_from(
        list("abcdetlrsv'’ \t\n\r\x0b\x1c\x85\xa0\u2003\u3000.,-0123٣²½Ⅷ一üßñéλшあ한\u0301\u200d😀€")
    ),
    st.characters(exclude_categories=("Cs", "Cn")),
)
texts = st.one_of(
    st.text(alphabet, max_size=40),
    st.lists(
        st.sampled_from(["'s", "'ll", "'T", " ", "  ", "\n ", "the", " the", "12", "!?"]), max_size=12
    ).map("".join),
    st.sampled_from(CORPUS),
)


@pytest.fixture(scope="module")
def oracle() -> Any:
    import tokenizers

    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400, show_progress=False, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


@pytest.fixture(scope="module")
def encoder(oracle: Any, tmp_path_factory: pytest.TempPathFactory) -> BytePairEncoder:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    oracle.save(str(path))
    return read_encoder(path)


@given(text=texts)
def test_tokens_are_those_of_tokenizers(oracle: Any, encoder: BytePairEncoder, text: str) -> None:
    assert list(encoder.encode(text)) == oracle.encode(text).ids


@given(text=texts)
def test_words_are_those_of_tokenizers(text: str) -> None:
    import tokenizers

    letters = byte_letters()
    words = ["".join(letters[byte] for byte in word.encode()) for word in split_words(text)]
    expected = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(text)
    assert words == [word for word, _ in expected]


def test_every_byte_has_a_letter_of_its_own() -> None:
    import tokenizers

    assert sorted(byte_letters()) == sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())


def test_categories_of_this_python_are_recent_enough() -> None:
    assert tuple(map(int, unicodedata.unidata_version.split("."))) >= (14, 0, 0)


def test_a_prompt_begins_with_one_space(oracle: Any, encoder: BytePairEncoder) -> None:
    assert list(encoder.encode_prompt("  the kitchen\n")) == oracle.encode(" the kitchen").ids
    assert encoder.encode_prompt(" ") == ()


def test_a_prompt_with_a_special_token_is_an_error(encoder: BytePairEncoder) -> None:
    with pytest.raises(UsageError, match=r"<\|endoftext\|>"):
        encoder.encode_prompt("the end <|endoftext|>")


def test_merges_may_be_written_as_strings(oracle: Any, encoder: BytePairEncoder, tmp_path: Path) -> None:
    data = json.loads(oracle.to_str())
    data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(data))
    assert read_encoder(path).encode(CORPUS[0]) == encoder.encode(CORPUS[0])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"model": {"vocab": {}, "merges": []}}',
        '{"model": {"vocab": {"a": 0}, "merges": [["a"]]}}',
    ],
)
def test_a_damaged_tokenizer_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(text)
    with pytest.raises(ArtifactError, match=r"tokenizer\.json: not a byte-level BPE tokenizer"):
        read_encoder(path)


def test_a_missing_tokenizer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_encoder(tmp_path / "tokenizer.json")
