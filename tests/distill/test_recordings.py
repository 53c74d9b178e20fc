"""Recordings: speech where the transcript says it is, in windows or longer, and sounds without speech."""

import random

import numpy as np
import pytest

from edgewhisper.distill.espeak import SAMPLE_RATE
from edgewhisper.distill.recordings import WINDOW_SECONDS, Recording, blank, clip, long_recording
from edgewhisper.distill.sentences import TRAINING_MIXTURE, Split, sentences
from edgewhisper.distill.sounds import music, noise
from edgewhisper.distill.voices import seen_voice, unseen_voice


def make(seed: int, count: int = 1, seconds: float | None = None) -> Recording:
    rng = random.Random(seed)
    texts = sentences("de", TRAINING_MIXTURE, Split.TRAINING, rng)
    voice = seen_voice("de", rng)
    return (
        clip(texts, count, "de", voice, rng)
        if seconds is None
        else long_recording(texts, seconds, "de", voice, rng)
    )


@pytest.mark.usefixtures("espeak")
class TestSpeech:
    @pytest.mark.parametrize("count", [1, 3])
    def test_a_clip_fits_into_a_window(self, count: int) -> None:
        for seed in range(12):
            recording = make(seed, count)
            assert recording.duration <= WINDOW_SECONDS
            assert 1 <= len(recording.sentences) <= count

    def test_a_long_recording_is_as_long_as_asked_or_a_sentence_shorter(self) -> None:
        recording = make(1, seconds=30)
        assert 20 < recording.duration <= 30
        assert len(recording.sentences) > 3

    def test_sentences_do_not_overlap_and_stay_inside(self) -> None:
        recording = make(2, seconds=40)
        times = [time for sentence in recording.sentences for time in (sentence.start, sentence.end)]
        assert times == sorted(times)
        assert times[-1] <= recording.duration

    def test_sentences_are_louder_than_pauses(self) -> None:
        recording = make(3, seconds=40)
        samples = recording.samples.astype(np.float64)

        def power(start: float, end: float) -> float:
            return float(np.mean(samples[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)] ** 2))

        for before, after in zip(recording.sentences, recording.sentences[1:], strict=False):
            assert power(before.start, before.end) > 4 * power(before.end + 0.05, after.start - 0.05)

    def test_the_texts_follow_each_other(self) -> None:
        recording = make(4, seconds=25)
        assert recording.text == " ".join(sentence.text for sentence in recording.sentences)


def test_unseen_voices_are_not_among_the_seen_ones() -> None:
    rng = random.Random(0)
    for language in ("en", "de"):
        seen = {seen_voice(language, rng).name for _ in range(3000)}
        unseen = {unseen_voice(language, rng).name for _ in range(500)}
        assert not seen & unseen


@pytest.mark.parametrize("length", [1, 1000, 16000, 50001])
def test_noise_has_unit_power(length: int) -> None:
    samples = noise(length, random.Random(length))
    assert samples.shape == (length,)
    assert np.mean(samples.astype(np.float64) ** 2) == pytest.approx(1.0, rel=1e-3)


def test_music_reaches_full_scale_and_no_more() -> None:
    samples = music(3 * SAMPLE_RATE, random.Random(0))
    assert samples.shape == (3 * SAMPLE_RATE,)
    assert np.abs(samples).max() == pytest.approx(1.0)


def test_blanks_hold_no_sentences_and_come_in_three_kinds() -> None:
    rng = random.Random(0)
    blanks = [blank(1.5, "en", rng) for _ in range(60)]
    assert {item.voice for item in blanks} == {"silence", "noise", "music"}
    assert all(item.sentences == () and item.text == "" and item.duration == 1.5 for item in blanks)
    assert all(not item.samples.any() for item in blanks if item.voice == "silence")
