"""The table of token bytes, and text from it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewhisper.errors import ArtifactError
from edgewhisper.runtime.bpe import byte_letters
from edgewhisper.runtime.vocabulary import Vocabulary, pack_tokens, read_vocabulary

tables = st.lists(st.binary(max_size=12), min_size=1, max_size=30)


@given(table=tables)
def test_every_token_comes_back(table: list[bytes]) -> None:
    vocabulary = Vocabulary(pack_tokens(table), len(table), "test")
    assert [vocabulary.token_bytes(token) for token in range(len(vocabulary))] == table


@given(table=tables, data=st.data())
def test_text_is_that_of_tokenizers(table: list[bytes], data: st.DataObject) -> None:
    from tokenizers.decoders import ByteLevel

    tokens = data.draw(st.lists(st.integers(0, len(table) - 1), max_size=12))
    letters = byte_letters()
    expected = ByteLevel().decode(["".join(letters[byte] for byte in table[token]) for token in tokens])
    assert Vocabulary(pack_tokens(table), len(table), "test").text(tokens) == expected


def test_characters_may_be_spread_over_tokens() -> None:
    table = [b"Gr\xc3", b"\xbc\xc3\x9f", b"e"]
    vocabulary = Vocabulary(pack_tokens(table), 3, "test")
    assert vocabulary.text((0, 1, 2)) == "Grüße"
    assert vocabulary.text((0, 2)) == "Gr\N{REPLACEMENT CHARACTER}e"


def test_special_tokens_have_no_text() -> None:
    vocabulary = Vocabulary(pack_tokens([b"yes", b"<|endoftext|>", b"<|0.00|>"]), 1, "test")
    assert vocabulary.text((2, 0, 2, 1)) == "yes"


@given(table=tables, data=st.data())
def test_a_damaged_table_is_an_error(table: list[bytes], data: st.DataObject) -> None:
    packed = pack_tokens(table)
    cut = packed[: data.draw(st.integers(0, len(packed) - 1))]
    for damaged in (cut, packed + b"x", b"X" + packed[1:]):
        with pytest.raises(ArtifactError, match=r"tokens\.bin: damaged"):
            Vocabulary(damaged, len(table), "tokens.bin")


def test_a_missing_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_vocabulary(tmp_path / "tokens.bin", 1)
