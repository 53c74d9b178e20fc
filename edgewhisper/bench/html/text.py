"""Numbers and names as readers see them."""

import math
import unicodedata

MISSING = "–"
# Reverse the direction of what follows, outside the name too.
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    """On one line, with U+FFFD for what neither HTML nor SVG can hold and for characters that reverse the text around them."""
    return " ".join("".join("\ufffd" if _unprintable(each) else each for each in text).split())


def _unprintable(character: str) -> bool:
    if character.isspace():
        return False
    code = ord(character)
    noncharacter = 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE
    return noncharacter or character in _DIRECTIONS or unicodedata.category(character) in ("Cc", "Cs")


def shorten(text: str, length: int) -> str:
    """At most `length` characters: the beginning and the end stay, as variants often differ in the end only."""
    text = printable(text)
    if len(text) <= length:
        return text
    end = length * 2 // 5
    return f"{text[: length - end - 1].rstrip()}…{text[-end:].lstrip()}"


def significant(value: float) -> str:
    """Three significant digits, or all digits before the point; powers of ten only for what would be very long."""
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if not -5 < exponent < 9:
        return f"{value:.2e}"
    return f"{value:.{max(0, 2 - exponent)}f}"


def megabytes(size: float) -> str:
    """Of 10^6 bytes."""
    return significant(size / 1e6)


def percent(share: float) -> str:
    """0.0213 -> "2.13"."""
    return f"{100 * share:.2f}"


def points(difference: float) -> str:
    """Percentage points with their sign: 0.0013 -> "+0.13"."""
    return f"{100 * difference:+.2f}"


def plural(count: int, noun: str) -> str:
    """ "1 run", "2 runs"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
