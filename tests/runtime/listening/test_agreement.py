"""Words are shown when two decodings in a row agree on them, and never taken back."""

import itertools

import hypothesis
from hypothesis import strategies

from edgewhisper.runtime.listening.agreement import LocalAgreement


def test_what_two_decodings_agree_on_is_stable() -> None:
    agreement = LocalAgreement()
    assert agreement.add("Turn on") is None
    assert agreement.add("Turn on the night") == "Turn on"
    assert agreement.add("Turn on the light in the") == "Turn on the"
    assert agreement.add("Turn on the light in the garage.") == "Turn on the light in the"


def test_what_stands_after_the_last_word_is_not_stable() -> None:
    agreement = LocalAgreement()
    assert agreement.add("Play some jazz.") is None
    assert agreement.add("Play some jazz.") == "Play some jazz"
    assert agreement.add("Play some jazz, then") is None
    assert agreement.add("Play some jazz, then stop.") == "Play some jazz, then"


def test_nothing_is_said_while_nothing_is_new() -> None:
    agreement = LocalAgreement()
    agreement.add("Stop")
    assert agreement.add("Stop") == "Stop"
    assert agreement.add("Stop") is None
    assert agreement.add("") is None


words = strategies.sampled_from(["a", "b", "a.", "b,"])


@hypothesis.given(texts=strategies.lists(strategies.lists(words, max_size=5).map(" ".join), max_size=12))
def test_a_stable_text_only_grows(texts: list[str]) -> None:
    agreement = LocalAgreement()
    shown = [stable for text in texts if (stable := agreement.add(text)) is not None]
    for before, after in itertools.pairwise(shown):
        assert after.startswith(before)
        assert len(after.split()) > len(before.split())
