"""Which part of a growing utterance's text is stable: what two decodings in a row agree on.

Local agreement, Liu et al., Low-Latency Sequence-to-Sequence Speech Recognition and Translation by Partial Hypothesis Selection,
arXiv 2005.11185.
"""

from itertools import takewhile

_PUNCTUATION = ".,;:!?…"  # after the last word so far it says where the sound was cut


class LocalAgreement:
    """The words that can be shown of one utterance."""

    def __init__(self) -> None:
        self._latest: list[str] = []
        self._stable: list[str] = []

    def add(self, text: str) -> str | None:
        """The text of the next decoding; the stable words where there are more of them than before, else None.

        They go on from those that were given before, to the letter, or are not given.
        """
        words = text.split()
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
        return " ".join(self._stable).rstrip(_PUNCTUATION)


def _bare(word: str) -> str:
    return word.rstrip(_PUNCTUATION)
