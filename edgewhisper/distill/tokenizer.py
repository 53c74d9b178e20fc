"""The demo model's vocabulary: a byte-level BPE of both languages with Whisper's special tokens and timestamps."""

import json
import random
import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import WhisperTokenizer

from .recordings import WINDOW_SECONDS
from .sentences import GRAMMARS, TRAINING_MIXTURE, Split, sentences

_SEED = 1
_TEXT_TOKENS = 800
_SENTENCES_PER_LANGUAGE = 20_000

_END_OF_TEXT = "<|endoftext|>"
_LATER_SPECIAL_TOKENS = (
    "<|startoftranscript|>",
    "<|en|>",
    "<|de|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)
"""In the order of OpenAI's multilingual models; end-of-text comes before them."""

TIMESTAMP_SECONDS = 0.02
"""Distance of two timestamp tokens."""


@dataclass(frozen=True)
class SpecialTokens:
    """Token ids of the demo model's vocabulary."""

    end_of_text: int
    start_of_transcript: int
    languages: dict[str, int]
    translate: int
    transcribe: int
    start_of_previous: int
    start_of_language_model: int
    no_speech: int
    no_timestamps: int
    first_timestamp: int

    def timestamp(self, seconds: float) -> int:
        """The token of a time within the window, rounded."""
        return self.first_timestamp + round(min(max(seconds, 0.0), WINDOW_SECONDS) / TIMESTAMP_SECONDS)


def train_tokenizer(directory: Path) -> None:
    """Trains the BPE on sentences of the training split and writes a transformers tokenizer."""
    bpe = Tokenizer(BPE())
    bpe.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(
        vocab_size=_TEXT_TOKENS, initial_alphabet=sorted(ByteLevel.alphabet()), show_progress=False
    )
    rng = random.Random(_SEED)
    text: list[str] = []
    for language in GRAMMARS:
        drawn = sentences(language, TRAINING_MIXTURE, Split.TRAINING, rng)
        text.extend(f" {sentence}" for sentence in islice(drawn, _SENTENCES_PER_LANGUAGE))
    bpe.train_from_iterator(text, trainer)
    with tempfile.TemporaryDirectory() as folder:
        bpe.model.save(folder)
        vocabulary, merges = Path(folder, "vocab.json"), Path(folder, "merges.txt")
        ordered = dict(sorted(json.loads(vocabulary.read_text()).items(), key=lambda entry: entry[1]))
        ordered[_END_OF_TEXT] = len(ordered)
        vocabulary.write_text(json.dumps(ordered, ensure_ascii=False))
        tokenizer = WhisperTokenizer(str(vocabulary), str(merges), pad_token=_END_OF_TEXT)
    special = [AddedToken(token, special=True, normalized=False) for token in _LATER_SPECIAL_TOKENS]
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    steps = round(WINDOW_SECONDS / TIMESTAMP_SECONDS)
    tokenizer.add_tokens([
        AddedToken(f"<|{step * TIMESTAMP_SECONDS:.2f}|>", special=False, normalized=False)
        for step in range(steps + 1)
    ])  # fmt: skip
    tokenizer.save_pretrained(directory)


def load_tokenizer(directory: Path) -> WhisperTokenizer:
    return WhisperTokenizer.from_pretrained(directory)


def special_tokens(tokenizer: WhisperTokenizer) -> SpecialTokens:
    """Looks the special tokens up by their text."""

    def token(text: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(text))

    return SpecialTokens(
        end_of_text=token(_END_OF_TEXT),
        start_of_transcript=token("<|startoftranscript|>"),
        languages={language: token(f"<|{language}|>") for language in GRAMMARS},
        translate=token("<|translate|>"),
        transcribe=token("<|transcribe|>"),
        start_of_previous=token("<|startofprev|>"),
        start_of_language_model=token("<|startoflm|>"),
        no_speech=token("<|nospeech|>"),
        no_timestamps=token("<|notimestamps|>"),
        first_timestamp=token("<|0.00|>"),
    )
