"""Byte-level BPE: text -> token ids, for prompts.

The encoder of GPT-2 (https://github.com/openai/gpt-2/blob/master/src/encoder.py), which Whisper uses, read from a
`tokenizers` file. Only prompts need it, and the `tokenizers` library would cost 35 MB of memory.
"""

import itertools
import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgewhisper.errors import ArtifactError, UsageError

_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
# Unicode's White_Space; str.isspace() takes four control characters more.
_WHITE_SPACE = frozenset(
    "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
)


class BytePairEncoder:
    """Encodes text with a byte-level BPE vocabulary."""

    def __init__(
        self, ranks: dict[tuple[str, str], int], ids: dict[str, int], special_tokens: frozenset[str]
    ) -> None:
        """Take a vocabulary whose tokens are written with `byte_letters`.

        Args:
            ranks: pair of tokens -> when it is merged, lowest first.
            ids: token -> id.
            special_tokens: literal names that no prompt may contain.
        """
        self._ranks = ranks
        self._ids = ids
        self._special_tokens = special_tokens
        self._letters = byte_letters()

    def encode_prompt(self, text: str) -> tuple[int, ...]:
        """The ids of a prompt, with one space before it as openai-whisper and transformers do.

        Raises:
            UsageError: the text names a special token.
        """
        for token in self._special_tokens:
            if token in text:
                raise UsageError(f"the prompt contains the special token '{token}'; leave it out")
        return self.encode(" " + text.strip()) if text.strip() else ()

    def encode(self, text: str) -> tuple[int, ...]:
        """The ids of `text`, which is taken literally."""
        return tuple(
            self._ids[token]
            for word in split_words(text)
            for token in self._merge([self._letters[byte] for byte in word.encode(errors="replace")])
        )

    def _merge(self, parts: list[str]) -> list[str]:
        while len(parts) > 1:
            pairs = itertools.pairwise(parts)
            best = min(pairs, key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            merged, i = [], 0
            while i < len(parts):
                if tuple(parts[i : i + 2]) == best:
                    merged.append(parts[i] + parts[i + 1])
                    i += 2
                else:
                    merged.append(parts[i])
                    i += 1
            parts = merged
        return parts


def read_encoder(path: Path) -> BytePairEncoder:
    """Read a `tokenizer.json`.

    Raises:
        ArtifactError: it cannot be read, or is not a byte-level BPE tokenizer.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"{path}: cannot be read ({error.strerror}); a prompt needs it, build the artifact again"
        ) from None
    return parse_encoder(data, str(path))


def parse_encoder(data: bytes, source: str) -> BytePairEncoder:
    """The same from the contents of the file; `source` names it in errors.

    Raises:
        ArtifactError: it is not a byte-level BPE tokenizer.
    """
    try:
        tokenizer: Any = json.loads(data)
        model = tokenizer["model"]
        ids = dict(model["vocab"])
        ranks = {_pair(merge): rank for rank, merge in enumerate(model["merges"])}
        if not all(first + second in ids for first, second in ranks) or not ids.keys() >= set(byte_letters()):
            raise ValueError("the vocabulary is not complete")
        special = frozenset(str(token["content"]) for token in tokenizer["added_tokens"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(
            f"{source}: not a byte-level BPE tokenizer ({error}); build the artifact again"
        ) from None
    return BytePairEncoder(ranks, ids, special)


def _pair(merge: str | list[str]) -> tuple[str, str]:
    """A merge, which old files write as one string."""
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second


def byte_letters() -> list[str]:
    """The letter that GPT-2's vocabulary writes for each byte: itself if printable, else one from U+0100 on."""
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def split_words(text: str) -> Iterator[str]:
    r"""Split text into the words that BPE works on.

    GPT-2's pattern `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`, written out because `re`
    knows no Unicode categories.
    """
    kinds = [_kind(letter) for letter in text]
    position = 0
    while position < len(text):
        end = _word_end(text, kinds, position)
        yield text[position:end]
        position = end


def _word_end(text: str, kinds: list[str], start: int) -> int:
    for contraction in _CONTRACTIONS:
        if text.startswith(contraction, start):
            return start + len(contraction)
    # One space may lead a word.
    first = start + 1 if text[start] == " " and start + 1 < len(text) and kinds[start + 1] != " " else start
    end = first
    while end < len(text) and kinds[end] == kinds[first]:
        end += 1
    # Of several white spaces the last is left to the word that follows.
    if kinds[first] == " " and end < len(text) and end - start > 1:
        return end - 1
    return end


def _kind(letter: str) -> str:
    if letter in _WHITE_SPACE:
        return " "
    category = unicodedata.category(letter)[0]
    return category if category in "LN" else "other"
