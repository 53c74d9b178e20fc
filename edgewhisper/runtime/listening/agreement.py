"""Which part of a growing utterance's text is stable: what two decodings in a row agree on.

Local agreement, Liu et al., Low-Latency Sequence-to-Sequence Speech Recognition and Translation by Partial Hypothesis Selection,
arXiv 2005.11185.
"""

from itertools import takewhile


class LocalAgreement:
    """The words that can be shown of one utterance."""

    def __init__(self) -> None:
        self._latest: list[str] = []
        self._stable: list[str] = []

    def add(self, text: str) -> str | None:
        """The text of the next decoding; the stable words where there are more of them than before, else None.

        They go on from those that were given before, or are not given.
        """
        words = text.split()
        agreed = [
            word
            for word, _ in takewhile(lambda pair: pair[0] == pair[1], zip(words, self._latest, strict=False))
        ]
        self._latest = words
        if len(agreed) <= len(self._stable) or agreed[: len(self._stable)] != self._stable:
            return None
        self._stable = agreed
        return " ".join(agreed)
