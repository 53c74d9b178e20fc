"""Recordings: spoken sentences placed in time, at some level, in some noise; and recordings without speech."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .espeak import SAMPLE_RATE, Utterance, Voice, Word, speak
from .sounds import Samples, music, noise

WINDOW_SECONDS = 8.0
"""Length of the demo model's window."""

_LONGEST_SENTENCE = 6.5
"""Seconds. With the longest pause before it a sentence still fits into a window."""

_LEAD = (0.05, 0.5)
"""Seconds before the first sentence of a clip."""

_TAIL = (0.05, 0.4)
_PAUSE = (0.25, 1.4)
"""Seconds between two sentences."""

_PEAK_DECIBELS = (-18.0, -0.5)
_NOISY_SHARE = 0.6
_SIGNAL_TO_NOISE = (12.0, 40.0)
"""Decibels."""

_BLANK_DECIBELS = (-80.0, -14.0)


@dataclass(frozen=True)
class SpokenSentence:
    """One sentence of a recording; times in seconds from the recording's start."""

    text: str
    words: tuple[Word, ...]

    @property
    def start(self) -> float:
        return self.words[0].start

    @property
    def end(self) -> float:
        return self.words[-1].end


@dataclass(frozen=True)
class Recording:
    samples: npt.NDArray[np.int16]
    """16 kHz mono PCM."""

    language: str
    voice: str
    """What speaks, or for a recording without speech what is heard instead."""

    sentences: tuple[SpokenSentence, ...]

    @property
    def duration(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    @property
    def text(self) -> str:
        return " ".join(sentence.text for sentence in self.sentences)


def clip(texts: Iterator[str], count: int, language: str, voice: Voice, rng: random.Random) -> Recording:
    """A recording of up to `count` sentences that fits into one window."""
    lead, tail = rng.uniform(*_LEAD), rng.uniform(*_TAIL)
    placed = [_place(_utterance(texts, voice), lead)]
    for _ in range(count - 1):
        start = placed[-1].end + rng.uniform(*_PAUSE)
        room = WINDOW_SECONDS - tail - start
        utterance = _utterance(texts, voice)
        if utterance.duration > room:
            break
        placed.append(_place(utterance, start))
    return _mix(placed, min(placed[-1].end + tail, WINDOW_SECONDS), language, voice, rng)


def long_recording(
    texts: Iterator[str], seconds: float, language: str, voice: Voice, rng: random.Random
) -> Recording:
    """A recording of many sentences with pauses, at most `seconds` long and not much shorter."""
    placed = [_place(_utterance(texts, voice), rng.uniform(*_LEAD))]
    while True:
        utterance = _utterance(texts, voice)
        following = _place(utterance, placed[-1].end + rng.uniform(*_PAUSE))
        if following.end > seconds - _TAIL[1]:
            break
        placed.append(following)
    return _mix(placed, placed[-1].end + rng.uniform(*_TAIL), language, voice, rng)


def blank(seconds: float, language: str, rng: random.Random) -> Recording:
    """Silence, noise or music."""
    length = round(seconds * SAMPLE_RATE)
    sounds: dict[str, Callable[[], Samples]] = {
        "silence": lambda: np.zeros(length, np.float32),
        "noise": lambda: noise(length, rng) * np.float32(0.25),
        "music": lambda: music(length, rng),
    }
    kind = rng.choices(list(sounds), weights=[1, 4, 4])[0]
    samples = sounds[kind]() * _gain(rng.uniform(*_BLANK_DECIBELS if kind == "noise" else _PEAK_DECIBELS))
    return Recording(_pcm(samples), language, kind, ())


@dataclass(frozen=True)
class _Placed:
    utterance: Utterance
    start: float

    @property
    def end(self) -> float:
        return self.start + self.utterance.duration


def _place(utterance: Utterance, start: float) -> _Placed:
    """Puts an utterance on a whole sample."""
    return _Placed(utterance, round(start * SAMPLE_RATE) / SAMPLE_RATE)


def _utterance(texts: Iterator[str], voice: Voice) -> Utterance:
    """Speaks the next sentence that is not too long."""
    while True:
        utterance = speak(next(texts), voice)
        if utterance.duration <= _LONGEST_SENTENCE:
            return utterance


def _mix(
    placed: Sequence[_Placed], seconds: float, language: str, voice: Voice, rng: random.Random
) -> Recording:
    samples = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
    for item in placed:
        first = round(item.start * SAMPLE_RATE)
        part = samples[first : first + len(item.utterance.samples)]
        part += item.utterance.samples[: len(part)]
    samples *= _gain(rng.uniform(*_PEAK_DECIBELS)) / np.abs(samples).max()
    if rng.random() < _NOISY_SHARE:
        speech_level = np.sqrt(np.mean(samples[np.abs(samples) > 0] ** 2))
        samples += noise(len(samples), rng) * speech_level * _gain(-rng.uniform(*_SIGNAL_TO_NOISE))
    return Recording(_pcm(samples), language, voice.name, tuple(map(_spoken, placed)))


def _spoken(item: _Placed) -> SpokenSentence:
    words = tuple(Word(w.text, item.start + w.start, item.start + w.end) for w in item.utterance.words)
    return SpokenSentence(" ".join(word.text for word in words), words)


def _gain(decibels: float) -> float:
    return float(10 ** (decibels / 20))


def _pcm(samples: Samples) -> npt.NDArray[np.int16]:
    return np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
