"""tokenizer.json <-> ids to bytes, against `tokenizers` and tiktoken."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewhisper.errors import CheckpointError
from edgewhisper.models.checkpoint import Vocabulary
from edgewhisper.models.generation import LANGUAGES, find_token_ids, special_tokens, with_original_rules
from edgewhisper.models.tokenizer import encode_piece, read_tokenizer_json, to_bytes, to_characters
from edgewhisper.models.whisper_vocabulary import whisper_vocabulary
from tests.models.checkpoint_files import openai_tokenizer, small_vocabulary

VOCABULARIES = [(51_864, False, 99), (51_865, True, 99), (51_866, True, 100)]
ENGLISH, MULTILINGUAL = whisper_vocabulary(51_864), whisper_vocabulary(51_865)


def test_byte_alphabet_is_that_of_tokenizers() -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    characters = [to_characters(bytes([byte])) for byte in range(256)]
    assert sorted(characters) == sorted(ByteLevel.alphabet())
    assert [to_bytes(character) for character in characters] == [bytes([byte]) for byte in range(256)]


@given(st.binary())
def test_characters_and_bytes_are_inverse(data: bytes) -> None:
    assert to_bytes(to_characters(data)) == data


@pytest.mark.parametrize(
    ("vocabulary", "multilingual"), [(ENGLISH, False), (MULTILINGUAL, True)], ids=["english", "multilingual"]
)
def test_recovered_merges_encode_as_tiktoken_does(vocabulary: Vocabulary, multilingual: bool) -> None:
    from tokenizers import Tokenizer

    original = openai_tokenizer(multilingual=multilingual)
    rebuilt = Tokenizer.from_str(vocabulary.tokenizer_json.decode())

    @settings(max_examples=200)
    @given(st.text() | st.text(alphabet="etaoin shrdlu'.,-ÄÖüßé0123456789\n"))
    def check(text: str) -> None:
        ids = rebuilt.encode(text).ids
        assert ids == original.encode(text, disallowed_special=())
        assert b"".join(vocabulary.tokens[token_id] for token_id in ids) == text.encode()

    check()


@given(st.text(alphabet=" telinghs-('", max_size=12))
def test_pieces_divide_as_tiktoken_divides_them(text: str) -> None:
    vocabulary = small_vocabulary()
    ranks = {
        token: rank
        for rank, token in enumerate(vocabulary.tokens[: vocabulary.tokens.index(b"<|endoftext|>")])
    }
    import tiktoken

    encoding = tiktoken.Encoding("small", pat_str=r"[\s\S]+", mergeable_ranks=ranks, special_tokens={})
    assert [ranks[part] for part in encode_piece(text.encode(), ranks)] == encoding.encode(text)


@pytest.mark.parametrize(("vocab_size", "multilingual", "languages"), VOCABULARIES)
def test_table_is_that_of_tokenizers(vocab_size: int, multilingual: bool, languages: int) -> None:
    from tokenizers import Tokenizer

    vocabulary = whisper_vocabulary(vocab_size)
    tokenizer = Tokenizer.from_str(vocabulary.tokenizer_json.decode())
    end_of_text = vocabulary.tokens.index(b"<|endoftext|>")
    assert len(vocabulary.tokens) == tokenizer.get_vocab_size() == vocab_size
    for token_id, token in enumerate(vocabulary.tokens):
        expected = to_characters(token) if token_id < end_of_text else token.decode()
        assert tokenizer.id_to_token(token_id) == expected
    assert read_tokenizer_json(vocabulary.tokenizer_json, vocab_size, "x").tokens == vocabulary.tokens


@pytest.mark.parametrize(("vocab_size", "multilingual", "languages"), VOCABULARIES)
def test_rules_are_those_of_openai_whisper(vocab_size: int, multilingual: bool, languages: int) -> None:
    original = openai_tokenizer(multilingual=multilingual, languages=languages)
    tokens = whisper_vocabulary(vocab_size).tokens
    ids = with_original_rules(find_token_ids(tokens, multilingual=multilingual, source="x"), tokens)
    special = {original.transcribe, original.translate, original.sot, original.sot_prev, original.sot_lm}
    assert ids.suppress == tuple(sorted({*original.non_speech_tokens, *special, original.no_speech}))
    assert ids.begin_suppress == (*original.encode(" "), original.eot)


def test_languages_are_those_of_openai_whisper() -> None:
    import whisper.tokenizer

    assert tuple(whisper.tokenizer.LANGUAGES) == LANGUAGES


def test_timestamps_that_the_tokenizer_leaves_out_are_named() -> None:
    vocabulary = small_vocabulary()
    tokenizer = json.loads(vocabulary.tokenizer_json)
    tokenizer["added_tokens"] = [item for item in tokenizer["added_tokens"] if "." not in item["content"]]
    found = read_tokenizer_json(json.dumps(tokenizer).encode(), len(vocabulary.tokens), "x")
    assert found.tokens == vocabulary.tokens


def test_no_speech_has_two_names() -> None:
    tokens = [token.replace(b"nospeech", b"nocaptions") for token in small_vocabulary().tokens]
    ids = find_token_ids(tokens, multilingual=True, source="x")
    assert ids.no_speech == tokens.index(b"<|nocaptions|>")


def test_special_tokens_end_where_the_vocabulary_ends() -> None:
    assert 50_257 + len(special_tokens(100)) == 51_866


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"model": {"vocab": []}, "added_tokens": []}', b'{"model": 1, "added_tokens": 2}'],
)
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError, match=r"^x: not a byte-level BPE tokenizer"):
        read_tokenizer_json(data, 100, "x")


def test_tokenizer_of_a_larger_model_is_refused() -> None:
    vocabulary = small_vocabulary()
    with pytest.raises(CheckpointError, match="belongs to another model"):
        read_tokenizer_json(vocabulary.tokenizer_json, len(vocabulary.tokens) - 1, "x")


def test_vocabulary_of_another_kind_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"no token '<\|endoftext\|>'"):
        find_token_ids([b"a", b"b"], multilingual=True, source="x")
