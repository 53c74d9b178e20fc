"""Which part of a growing utterance's text is stable: what two decodings in a row agree on.

Local agreement, Liu et al., Low-Latency Sequence-to-Sequence Speech Recognition and Translation by Partial Hypothesis Selection,
arXiv 2005.11185.
"""

import unicodedata
from itertools import takewhile

_PUNCTUATION = ".,;:!?…。，、？！：；"  # after the last word so far it says where the sound was cut
_WITHOUT_SPACES = {
    "zh",
    "yue",
    "ja",
    "th",
    "lo",
    "my",
}  # languages, by Whisper's codes: characters take the place of words


class LocalAgreement:
    """The words that can be shown of one utterance."""

    def __init__(self) -> None:
        self._latest: list[str] = []
        self._stable: list[str] = []
        self._shown = ""

    def add(self, text: str, language: str) -> str | None:
        """The text of the next decoding, and its language's code; the stable words where there are more of them than before, else None.

        They go on from those that were given before, to the letter, or are not given.
        """
        has_spaces = language not in _WITHOUT_SPACES
        words = text.split() if has_spaces else _characters(text)
        pairs = takewhile(
            lambda pair: _bare(pair[0]) == _bare(pair[1]), zip(words, self._latest, strict=False)
        )
        agreed = [word for word, _ in pairs]
        self._latest = words
        known = len(self._stable)
        if len(agreed) <= known or [*map(_bare, agreed[:known])] != [*map(_bare, self._stable)]:
            return None
        last = max(0, known - 1)  # what follows the last word is known only now
        self._stable[last:] = agreed[last:]
        before, self._shown = self._shown, _bare((" " if has_spaces else "").join(self._stable))
        return self._shown if len(self._shown) > len(before) else None


def _characters(text: str) -> list[str]:
    """Characters, each with the marks, spaces and punctuation after it."""
    characters: list[str] = []
    for character in text:
        is_mark = unicodedata.category(character).startswith("M")
        if characters and (is_mark or character.isspace() or character in _PUNCTUATION):
            characters[-1] += character
        else:
            characters.append(character)
    return characters


def _bare(text: str) -> str:
    return text.rstrip(_PUNCTUATION + " ")
