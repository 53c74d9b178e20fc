"""Which characters a language is written with, and which tokens can occur in text of given characters."""

from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("characters_of_languages.tsv")

# Kept whatever the language: white space, digits, punctuation and signs of ASCII and Latin-1, general punctuation
# (quotation marks, dashes, the ellipsis, joiners), currencies. ASCII letters are not among them.
ALWAYS_KEPT = frozenset(
    character
    for character in map(chr, [*range(0x20, 0x7F), *range(0xA0, 0xC0), *range(0x2000, 0x2070), *range(0x20A0, 0x20C1)])
    if not character.isalpha()
)  # fmt: skip

# Scripts of thousands of characters are kept whole: lists of them end where names begin.
BLOCKS = {
    "Han": range(0x3400, 0xA000),
    "Hangul": range(0xAC00, 0xD7A4),
}
_BLOCKS_OF = {"ja": ("Han",), "ko": ("Hangul",), "yue": ("Han",), "zh": ("Han",)}


def with_cases(characters: Iterable[str]) -> frozenset[str]:
    """The characters in lower, upper and title case."""
    return frozenset(
        variant
        for character in characters
        for variant in character + character.lower() + character.upper() + character.title()
    )


@cache
def _table() -> dict[str, str]:
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t") for line in lines if not line.startswith("#"))


def languages_known() -> Collection[str]:
    """Whisper's codes of the languages whose characters are known."""
    return _table().keys()


def characters_of_language(code: str) -> frozenset[str]:
    """The characters that a language is written with, without those always kept: its alphabet in both cases, letters of
    names and loan words, its punctuation and digits.

    From the exemplar sets of the Unicode Common Locale Data Repository. Languages written in several scripts have all of
    them.

    Raises:
        KeyError: not one of `languages_known()`.
    """
    blocks = (chr(code_point) for name in _BLOCKS_OF.get(code, ()) for code_point in BLOCKS[name])
    return with_cases(_table()[code]).union(blocks)


class Spelling:
    """Decides whether a token can occur in text of given characters.

    A token of byte-level BPE may begin and end within a character: it can occur if its bytes are a part of the UTF-8 bytes
    of some text of these characters.
    """

    def __init__(self, characters: Iterable[str]) -> None:
        self._characters = frozenset(characters)
        encoded = [character.encode() for character in self._characters]
        self._prefixes = {code[:end] for code in encoded for end in range(1, len(code))}
        self._suffixes = {code[start:] for code in encoded for start in range(1, len(code))}
        self._infixes = {
            code[start:end]
            for code in encoded
            for start in range(len(code))
            for end in range(start + 1, len(code) + 1)
        }

    def can_contain(self, token: bytes) -> bool:
        """Whether `token`, at least one byte, is a part of such a text."""
        if token in self._infixes:
            return True
        begin = 0
        while begin < len(token) and _is_continuation(token[begin]):
            begin += 1
        end = begin + _whole_characters(token[begin:])
        if begin and token[:begin] not in self._suffixes:
            return False
        if end < len(token) and token[end:] not in self._prefixes:
            return False
        try:
            return self._characters.issuperset(token[begin:end].decode())
        except UnicodeDecodeError:
            return False


def _is_continuation(byte: int) -> bool:
    return byte & 0xC0 == 0x80


def _whole_characters(data: bytes) -> int:
    """The number of bytes before a last character that is cut off."""
    for start in range(len(data) - 1, max(len(data) - 4, -1), -1):
        if not _is_continuation(data[start]):
            first = data[start]
            length = 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
            return len(data) if start + length <= len(data) else start
    return len(data)
