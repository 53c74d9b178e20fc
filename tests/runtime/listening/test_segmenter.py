"""Utterances are slices of the stream, however its samples arrive. Whether there is a voice is told by the samples' own loudness here."""

import itertools

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from edgewhisper.errors import UsageError
from edgewhisper.runtime.listening.frames import Speech
from edgewhisper.runtime.listening.options import ListeningOptions
from edgewhisper.runtime.listening.segmenter import Segmenter
from edgewhisper.runtime.listening.voice_activity import FRAME
from edgewhisper.runtime.protocols import Floats

RATE = 16_000
LONGEST = 8.0


class Loud:
    """Loud frames have a voice; counts how often another stream began."""

    resets = 0

    def probability(self, frame: Floats) -> float:
        return float(np.abs(frame).max() > 0.1)

    def reset(self) -> None:
        self.resets += 1


def sound(*lengths: float) -> Floats:
    """Seconds of silence and voice in turn, as samples that are all different."""
    generator = np.random.default_rng(0)
    stretches = [
        (0.5 if index % 2 else 0.01) * generator.uniform(0.5, 1, round(seconds * RATE))
        for index, seconds in enumerate(lengths)
    ]
    return np.concatenate(stretches).astype(np.float32)


def divided(samples: Floats, sizes: list[int] | None = None, **options: float) -> list[Speech]:
    """The utterances of a stream whose samples come in blocks of these sizes, the last one again and again."""
    segmenter = Segmenter(Loud(), ListeningOptions(**options), LONGEST)
    found, at = [], 0
    sizes = list(sizes or [FRAME])
    while at < len(samples):
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        found += segmenter.push(samples[at : at + size], arrived=at / RATE)
        at += size
    return found + segmenter.flush(at / RATE)


def bounds(utterances: list[Speech]) -> list[tuple[int, int, int, int, str | None]]:
    return [(one.start, one.end, one.voice_start, one.voice_end, one.ended_by) for one in utterances]


stretches = strategies.lists(strategies.floats(0.02, 3.0), min_size=1, max_size=9)


@hypothesis.settings(max_examples=20)
@hypothesis.given(lengths=stretches, sizes=strategies.lists(strategies.integers(1, 30_000), max_size=20))
def test_how_samples_arrive_makes_no_difference(lengths: list[float], sizes: list[int]) -> None:
    samples = sound(*lengths)
    expected, found = divided(samples, [len(samples)]), divided(samples, [*sizes, 777])
    assert bounds(found) == bounds(expected)
    assert all(np.array_equal(one.samples, two.samples) for one, two in zip(expected, found, strict=True))


@hypothesis.settings(max_examples=20)
@hypothesis.given(lengths=stretches)
def test_no_sample_is_lost_or_doubled(lengths: list[float]) -> None:
    samples = sound(*lengths)
    utterances = divided(samples)
    for utterance in utterances:
        assert np.array_equal(utterance.samples, samples[utterance.start : utterance.end])
        assert utterance.start <= utterance.voice_start < utterance.voice_end <= utterance.end
    for before, after in itertools.pairwise(utterances):
        assert before.end <= after.start
        if before.ended_by == "length":
            assert before.end == after.start


@hypothesis.settings(max_examples=20)
@hypothesis.given(lengths=stretches)
def test_every_voice_that_is_long_enough_lies_in_an_utterance(lengths: list[float]) -> None:
    samples = sound(*lengths)
    is_heard = np.zeros(len(samples), bool)
    for utterance in divided(samples):
        is_heard[utterance.start : utterance.end] = True
    edges = np.cumsum([0, *(round(seconds * RATE) for seconds in lengths)])
    for index in range(1, len(lengths), 2):
        begin, end = edges[index], edges[index + 1] - FRAME  # what does not fill the last frame is not judged
        if lengths[index] > 0.1 + 3 * FRAME / RATE:
            assert is_heard[begin:end].all()


@hypothesis.given(
    pause=strategies.floats(0.02, 0.6), before=strategies.floats(0.2, 3), after=strategies.floats(0.2, 3)
)
def test_a_pause_shorter_than_the_delay_divides_nothing(pause: float, before: float, after: float) -> None:
    assert len(divided(sound(1, before, pause, after, 1))) == 1


@pytest.mark.parametrize("pause", [0.1, 0.2, 0.3, 0.4])
def test_a_pause_in_a_sentence_divides_nothing_by_default(pause: float) -> None:
    samples = sound(0.5, 0.3, pause, 0.3, pause, 0.3, 1)
    assert ListeningOptions().end_delay >= 0.4
    assert [one.ended_by for one in divided(samples)] == ["pause"]


@hypothesis.settings(max_examples=20)
@hypothesis.given(pause=strategies.floats(0.7, 3))
def test_a_longer_pause_divides(pause: float) -> None:
    first, second = divided(sound(0.5, 1, pause, 1, 1))
    assert (first.ended_by, second.ended_by) == ("pause", "pause")
    assert abs(first.voice_end / RATE - 1.5) < 0.04
    assert abs(second.voice_start / RATE - (1.5 + pause)) < 0.04


def test_an_utterance_has_sound_before_and_after_its_voice() -> None:
    (utterance,) = divided(sound(1, 1, 2))
    assert 0.5 <= (utterance.voice_start - utterance.start) / RATE < 0.5 + FRAME / RATE
    assert 0.2 <= (utterance.end - utterance.voice_end) / RATE < 0.2 + FRAME / RATE


def test_the_decision_comes_after_the_delay() -> None:
    (utterance,) = divided(sound(1, 1, 2), end_delay=0.7)
    assert abs(utterance.heard_at - 2) < 0.04
    assert 0.7 <= utterance.decided_at - utterance.heard_at < 0.7 + 2 * FRAME / RATE


@pytest.mark.parametrize("seconds", [0.001, 0.03, 0.06])
def test_a_click_is_no_utterance(seconds: float) -> None:
    assert divided(sound(1, seconds, 1)) == []


def test_silence_is_no_utterance() -> None:
    assert divided(sound(10)) == []
    assert divided(np.empty(0, np.float32)) == []


@hypothesis.settings(max_examples=10)
@hypothesis.given(seconds=strategies.floats(8, 30))
def test_no_utterance_is_longer_than_the_longest(seconds: float) -> None:
    utterances = divided(sound(1, seconds, 1))
    assert len(utterances) > 1
    assert all(len(one.samples) <= LONGEST * RATE for one in utterances)
    assert {one.ended_by for one in utterances[:-1]} == {"length"}


def test_a_long_utterance_is_cut_where_it_is_quietest() -> None:
    first, second = divided(sound(1, 5.5, 0.4, 5, 1))
    assert first.ended_by == "length"
    assert 6.5 < first.end / RATE < 6.9, "in the pause"
    assert second.start == first.end
    assert second.ended_by == "pause"


def test_silence_after_a_cut_is_not_an_utterance_of_its_own() -> None:
    samples = sound(0.5, 7.2, 3)
    assert [one.ended_by for one in divided(samples, pre_roll=0.3, end_delay=2.0)] == ["length"]


def test_what_is_being_said_at_the_end_is_an_utterance() -> None:
    samples = sound(1, 1)
    (utterance,) = divided(samples)
    assert (utterance.ended_by, utterance.end) == ("end", len(samples))


def test_a_gap_ends_an_utterance_and_moves_the_time() -> None:
    voice = Loud()
    segmenter = Segmenter(voice, ListeningOptions(), LONGEST)
    samples = sound(1, 1)
    assert segmenter.push(samples, 2.0) == []
    (first,) = segmenter.flush(5.0, missing=3 * RATE)
    segmenter.push(samples, 7.0)
    (second,) = segmenter.flush(7.0)
    assert first.end == len(samples)
    assert (second.voice_start - first.voice_start) == 5 * RATE
    assert voice.resets == 2


def test_what_is_under_way_can_be_seen() -> None:
    segmenter = Segmenter(Loud(), ListeningOptions(), LONGEST)
    samples = sound(1, 1, 2)
    segmenter.push(samples[:RATE], 1.0)
    assert segmenter.under_way(1.0) is None
    segmenter.push(samples[RATE : RATE + RATE // 2], 1.5)
    growing = segmenter.under_way(1.5)
    assert growing is not None
    assert growing.ended_by is None
    assert not segmenter.is_pausing
    segmenter.push(samples[RATE + RATE // 2 : 2 * RATE + RATE // 4], 2.25)
    assert segmenter.is_pausing
    paused = segmenter.under_way(2.25)
    (over,) = segmenter.push(samples[2 * RATE + RATE // 4 :], 4.0)
    assert paused is not None
    assert (paused.start, paused.end) == (over.start, over.end), "more silence does not change it"
    assert np.array_equal(paused.samples, over.samples)
    assert segmenter.under_way(4.0) is None


def test_a_key_keeps_an_utterance_together_whatever_pauses_it_has() -> None:
    held = False
    segmenter = Segmenter(Loud(), ListeningOptions(), LONGEST, lambda: held)
    samples = sound(1, 1, 1.5, 1, 1)
    assert segmenter.push(samples[:RATE], 1.0) == [], "voice alone begins nothing"
    held = True
    assert segmenter.push(samples[RATE : 5 * RATE], 5.0) == []
    held = False
    (utterance,) = segmenter.push(samples[5 * RATE :], 5.5)
    assert utterance.ended_by == "key"
    assert utterance.start / RATE == pytest.approx(0.5, abs=0.04)
    assert utterance.end / RATE == pytest.approx(5, abs=0.04)


def test_a_key_without_a_voice_is_no_utterance() -> None:
    held = True
    segmenter = Segmenter(Loud(), ListeningOptions(), LONGEST, lambda: held)
    segmenter.push(sound(2), 2.0)
    held = False
    assert segmenter.push(sound(1), 3.0) == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("end_delay", 0.0),
        ("end_delay", float("nan")),
        ("pre_roll", -1),
        ("max_length", 0.5),
        ("least_voice", True),
        ("backlog", "all"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(option: str, value: object) -> None:
    with pytest.raises(UsageError, match=rf"{option} .* seconds"):
        ListeningOptions(**{option: value})  # type: ignore[arg-type]


def test_the_longest_utterance_must_have_room_for_the_delays() -> None:
    with pytest.raises(UsageError, match=r"max_length 2: .* give 10 seconds or more"):
        ListeningOptions(max_length=2, end_delay=4)
