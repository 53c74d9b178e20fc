"""Sounds without words: noise of three colours and simple synthesised music."""

import random

import numpy as np
import numpy.typing as npt

from .espeak import SAMPLE_RATE

Samples = npt.NDArray[np.float32]

_COLOURS = {"white": 0.0, "pink": 0.5, "brown": 1.0}
"""Exponent of 1/f by which the amplitude spectrum falls."""

_LOWEST_BIN = 4.0
"""Added to the frequency bin, so that the lowest frequencies do not swallow all the power."""

_SCALE = (0, 2, 4, 5, 7, 9, 11)
"""Semitones of a major scale."""


def noise(length: int, rng: random.Random) -> Samples:
    """White, pink or brown noise of unit power, shape (length,)."""
    exponent = rng.choice(list(_COLOURS.values()))
    generator = np.random.default_rng(rng.getrandbits(32))
    size = 1 << (length - 1).bit_length()
    white = generator.standard_normal(size)
    if exponent:
        spectrum = np.fft.rfft(white)
        white = np.fft.irfft(spectrum / (np.arange(len(spectrum)) + _LOWEST_BIN) ** exponent, size)
    cut = white[:length]
    return np.asarray(cut / np.sqrt(np.mean(cut**2)), np.float32)


def music(length: int, rng: random.Random) -> Samples:
    """Chords and a melody of decaying harmonic tones over a beat of noise, peak 1, shape (length,)."""
    beat = round(SAMPLE_RATE * 60 / rng.randint(70, 150))
    root = 110.0 * 2 ** (rng.randrange(12) / 12)
    brightness = rng.uniform(0.3, 0.8)
    percussion = rng.random() < 0.6
    track = np.zeros(length + beat * 4, np.float32)
    for position in range(0, length, beat):
        if position // beat % 4 == 0:
            degree = rng.randrange(7)
            for third in (0, 2, 4):
                _add(track, position, 0.3 * _tone(_pitch(root, degree + third), 4 * beat, brightness))
        for half in (0, beat // 2):
            if rng.random() < 0.7:
                tone = _tone(_pitch(2 * root, rng.randrange(10)), beat, brightness)
                _add(track, position + half, rng.uniform(0.3, 0.7) * tone)
        if percussion:
            hit = noise(beat // 4, rng) * np.exp(-np.arange(beat // 4) / (0.02 * SAMPLE_RATE))
            _add(track, position, np.asarray(0.2 * hit, np.float32))
    track = track[:length]
    return track / max(float(np.abs(track).max()), 1e-9)


def _pitch(root: float, degree: int) -> float:
    octave, step = divmod(degree, len(_SCALE))
    return float(root * 2 ** (octave + _SCALE[step] / 12))


def _tone(frequency: float, length: int, brightness: float) -> Samples:
    time = np.arange(length) / SAMPLE_RATE
    harmonics = range(1, 1 + min(8, int(SAMPLE_RATE / 2 / frequency)))
    wave = sum(brightness ** (n - 1) * np.sin(2 * np.pi * n * frequency * time) for n in harmonics)
    attack = np.minimum(time / 0.01, 1.0)
    return np.asarray(wave * attack * np.exp(-3 * time / time[-1]), np.float32)


def _add(track: Samples, position: int, sound: Samples) -> None:
    part = track[position : position + len(sound)]
    part += sound[: len(part)]
