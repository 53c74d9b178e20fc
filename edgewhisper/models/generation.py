"""Special tokens and the rules of generation, as Whisper's original implementation sets them.

Source: openai-whisper, `tokenizer.py` (order of the special tokens, `non_speech_tokens`) and `decoding.py`
(`_get_suppress_tokens`, `SuppressBlank`).
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from edgewhisper.artifact import TokenIds
from edgewhisper.errors import CheckpointError

from .tokenizer import encode_piece, timestamp_token

# Whisper's languages in the order of their tokens; large-v3 added the last.
_LANGUAGE_CODES = (
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml cy "
    "sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am yi lo "
    "uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue"
)
LANGUAGES = tuple(_LANGUAGE_CODES.split())
LANGUAGES_BEFORE_V3 = 99
ENGLISH_ONLY_VOCABULARY = 51_864  # lists the language tokens too, but its prompts do without them
TIMESTAMPS = 1501  # 0.00 to 30.00 s in steps of 0.02 s

_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")
_NO_SPEECH_NAMES = ("<|nospeech|>", "<|nocaptions|>")  # transformers wrote the second before large-v3

# Written only in annotations, never spoken; openai-whisper suppresses those that are one token, with or without a space.
_SINGLE_SYMBOLS = '"#()*+/:;<=>@[\\]^_`{|}~「」『』'
_SYMBOL_RUNS = "<< >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪"
# May be several tokens; their first bytes are shared by U+2640..U+267F only, so the first token is suppressed.
_MUSIC = "♩♪♫♬♭♮♯"
_NOT_AT_WORD_START = (" -", " '")


def special_tokens(languages: int) -> list[str]:
    """Whisper's special and timestamp tokens in the order of their ids."""
    return [
        "<|endoftext|>",
        "<|startoftranscript|>",
        *(f"<|{code}|>" for code in LANGUAGES[:languages]),
        "<|translate|>",
        "<|transcribe|>",
        "<|startoflm|>",
        "<|startofprev|>",
        "<|nospeech|>",
        "<|notimestamps|>",
        *(timestamp_token(i) for i in range(TIMESTAMPS)),
    ]


def find_token_ids(tokens: Sequence[bytes], *, multilingual: bool, source: str) -> TokenIds:
    """The special tokens of a vocabulary, found by name; no token is suppressed.

    Args:
        tokens: the bytes of every id.
        multilingual: whether prompts name a language; English-only vocabularies list the language tokens too.
        source: the file's name, for messages.

    Raises:
        CheckpointError: a token that every Whisper model needs is missing.
    """
    ids = _special_ids(tokens)
    for name in ("<|endoftext|>", "<|startoftranscript|>", "<|startofprev|>", "<|notimestamps|>"):
        if name not in ids:
            raise CheckpointError(
                f"{source}: the vocabulary has no token '{name}'; it is not a Whisper vocabulary"
            )
    languages = {match[1]: ids[name] for name in ids if (match := _LANGUAGE.fullmatch(name))}
    return TokenIds(
        end_of_text=ids["<|endoftext|>"],
        start_of_transcript=ids["<|startoftranscript|>"],
        transcribe=ids.get("<|transcribe|>"),
        translate=ids.get("<|translate|>"),
        start_of_previous=ids["<|startofprev|>"],
        no_speech=next((ids[name] for name in _NO_SPEECH_NAMES if name in ids), None),
        no_timestamps=ids["<|notimestamps|>"],
        timestamp_begin=ids["<|notimestamps|>"] + 1,
        languages=languages if multilingual else {},
    )


def with_original_rules(ids: TokenIds, tokens: Sequence[bytes]) -> TokenIds:
    """The same special tokens with the suppress lists that openai-whisper computes for the vocabulary."""
    ranks = {token: rank for rank, token in enumerate(tokens[: ids.end_of_text]) if token}
    special = (
        ids.transcribe,
        ids.translate,
        ids.start_of_transcript,
        ids.start_of_previous,
        ids.no_speech,
        _special_ids(tokens).get("<|startoflm|>"),
    )
    suppress = {*_non_speech_tokens(ranks), *(token_id for token_id in special if token_id is not None)}
    blank = [ranks[part] for part in encode_piece(b" ", ranks) if part in ranks]
    return replace(ids, suppress=tuple(sorted(suppress)), begin_suppress=(*blank, ids.end_of_text))


def _special_ids(tokens: Sequence[bytes]) -> dict[str, int]:
    return {
        token.decode(errors="replace"): i
        for i, token in enumerate(tokens)
        if token.startswith(b"<|") and token.endswith(b"|>")
    }


def _non_speech_tokens(ranks: dict[bytes, int]) -> set[int]:
    # Each of these is one piece for Whisper's pre-tokenizer, a run of symbols after at most one space.
    found = {encode_piece(text.encode(), ranks)[0] for text in _NOT_AT_WORD_START}
    for symbol in (*_SINGLE_SYMBOLS, *_SYMBOL_RUNS.split(), *_MUSIC):
        for text in (symbol, f" {symbol}"):
            parts = encode_piece(text.encode(), ranks)
            if len(parts) == 1 or symbol in _MUSIC:
                found.add(parts[0])
    return {ranks[part] for part in found if part in ranks}
