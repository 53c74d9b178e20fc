"""The bundled vocabulary: Whisper's special tokens in Whisper's order, text that comes back unchanged."""

import random
from itertools import islice

import pytest
from transformers import WhisperTokenizer, WhisperTokenizerFast

from edgewhisper.distill.demo import BUNDLE
from edgewhisper.distill.sentences import EVALUATION_MIXTURE, Split, sentences
from edgewhisper.distill.tokenizer import load_tokenizer, special_tokens


@pytest.fixture(scope="module")
def tokenizer() -> WhisperTokenizer:
    return load_tokenizer(BUNDLE)


def test_special_tokens_follow_the_text_in_whispers_order(tokenizer: WhisperTokenizer) -> None:
    written = [
        "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>",
        "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
    ]  # fmt: skip
    first = special_tokens(tokenizer).end_of_text
    assert tokenizer.convert_tokens_to_ids(written) == list(range(first, first + len(written)))


def test_timestamps_go_to_the_windows_end_in_steps_of_two_hundredths(tokenizer: WhisperTokenizer) -> None:
    tokens = special_tokens(tokenizer)
    assert tokens.first_timestamp == tokens.no_timestamps + 1
    timestamps = tokenizer.convert_ids_to_tokens(list(range(tokens.first_timestamp, len(tokenizer))))
    assert timestamps == [f"<|{step / 50:.2f}|>" for step in range(401)]


def test_times_are_rounded_and_kept_inside_the_window(tokenizer: WhisperTokenizer) -> None:
    tokens = special_tokens(tokenizer)
    asked = [tokens.timestamp(seconds) for seconds in (-0.3, 0.0, 1.2349, 8.0, 9.0)]
    assert tokenizer.convert_ids_to_tokens(asked) == [
        "<|0.00|>",
        "<|0.00|>",
        "<|1.24|>",
        "<|8.00|>",
        "<|8.00|>",
    ]


@pytest.mark.parametrize("language", ["en", "de"])
def test_text_comes_back_unchanged_and_both_implementations_agree(
    tokenizer: WhisperTokenizer, language: str
) -> None:
    fast = WhisperTokenizerFast.from_pretrained(BUNDLE)
    drawn = sentences(language, EVALUATION_MIXTURE, Split.HELD_OUT, random.Random(5))
    for sentence in islice(drawn, 200):
        encoded = tokenizer(f" {sentence}", add_special_tokens=False).input_ids
        assert fast(f" {sentence}", add_special_tokens=False).input_ids == encoded
        assert tokenizer.decode(encoded) == f" {sentence}"
        assert max(encoded) < special_tokens(tokenizer).end_of_text
