"""Sounds without speech, as they are in rooms: made, not recorded."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
Sound = NDArray[np.float32]
Noise = Callable[[float, np.random.Generator], Sound]


def silence(seconds: float, generator: np.random.Generator) -> Sound:
    return np.zeros(round(seconds * RATE), np.float32)


def white(seconds: float, generator: np.random.Generator) -> Sound:
    return _levelled(generator.standard_normal(round(seconds * RATE)))


def pink(seconds: float, generator: np.random.Generator) -> Sound:
    return _levelled(_shaped(seconds, generator, 0.5))


def fan(seconds: float, generator: np.random.Generator) -> Sound:
    """A rumble that swells with the blades, and their tone."""
    time = _time(seconds)
    blades = generator.uniform(20, 90)
    swell = 1 + 0.3 * np.sin(2 * np.pi * generator.uniform(0.2, 2) * time)
    tone = 0.2 * np.sin(2 * np.pi * blades * time)
    return _levelled(_levelled(_shaped(seconds, generator, 0.8)) * swell + tone)


def hum(seconds: float, generator: np.random.Generator) -> Sound:
    """Of the mains, with harmonics."""
    time = _time(seconds)
    mains = generator.choice([50, 60])
    return _levelled(sum(np.sin(2 * np.pi * mains * n * time) / n**1.5 for n in range(1, 20)))


def clicks(seconds: float, generator: np.random.Generator) -> Sound:
    """Switches, keys, a door: short strokes that ring off, now and then several at once."""
    sound = 0.001 * generator.standard_normal(round(seconds * RATE))
    for _ in range(round(2 * seconds)):
        length = round(generator.uniform(0.003, 0.15) * RATE)
        at = generator.integers(0, max(1, len(sound) - length))
        stroke = generator.standard_normal(length) * np.exp(-np.arange(length) / (0.2 * length))
        sound[at : at + length] += stroke[: len(sound) - at]
    return _levelled(sound)


def music(seconds: float, generator: np.random.Generator) -> Sound:
    """Chords, a melody of plucked tones, and a drum."""
    time = _time(seconds)
    sound = np.zeros(len(time))
    beat = 60 / generator.uniform(70, 140)
    for number in range(int(seconds / beat)):
        at = number * beat
        since = time - at
        root = 110 * 2 ** (generator.choice([0, 5, 7, 9]) / 12)
        if number % 4 == 0:
            span = (since >= 0) & (since < 4 * beat)
            envelope = np.minimum(1, since[span] / 0.1) * np.exp(-since[span] / (4 * beat))
            for step in (0, generator.choice([3, 4]), 7):
                tone = root * 2 ** (step / 12)
                sound[span] += envelope * sum(
                    np.sin(2 * np.pi * n * tone * since[span]) / n for n in range(1, 6)
                )
        span = (since >= 0) & (since < beat)
        tone = 4 * root * 2 ** (generator.choice([0, 2, 4, 7, 9]) / 12)
        sound[span] += 0.7 * np.exp(-since[span] / 0.2) * np.sin(2 * np.pi * tone * since[span])
        if number % 2:
            drum = np.exp(-since[span] / 0.05)
            sound[span] += 0.5 * drum * generator.standard_normal(int(span.sum()))
    return _levelled(sound)


NOISES: tuple[Noise, ...] = (
    silence,
    white,
    pink,
    hum,
    clicks,
    fan,
    music,
)


def pieces(seconds: float, of_each: float, seed: int = 0) -> Iterator[Sound]:
    """Each noise in turn for so long, at levels from hardly audible to loud, until that makes `seconds`."""
    generator = np.random.default_rng(seed)
    for number in range(round(seconds / of_each)):
        level = 10 ** (generator.uniform(-55, -15) / 20)
        yield np.float32(level) * NOISES[number % len(NOISES)](of_each, generator)


def _time(seconds: float) -> NDArray[np.float64]:
    return np.arange(round(seconds * RATE)) / RATE


def _shaped(seconds: float, generator: np.random.Generator, slope: float) -> NDArray[np.float64]:
    """Noise whose amplitude falls with frequency to the power of `slope`."""
    count = round(seconds * RATE)
    spectrum = np.fft.rfft(generator.standard_normal(count))
    frequency = np.fft.rfftfreq(count, 1 / RATE)
    shaped: NDArray[np.float64] = np.fft.irfft(spectrum / np.maximum(frequency, 20) ** slope, count)
    return shaped


def _levelled(sound: NDArray[np.float64]) -> Sound:
    """At a mean power of 1."""
    level = float(np.sqrt(np.mean(np.square(sound)) + 1e-12))
    return np.divide(sound, level).astype(np.float32)
