"""Sources of sound, and transcribers that take their time, to listen with."""

import threading
import time
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import soundfile

from edgewhisper import Transcriber
from edgewhisper.errors import AudioError
from edgewhisper.runtime.listening.heard import Heard, Utterance
from edgewhisper.runtime.listening.sources import Block
from edgewhisper.runtime.options import DecodingOptions, Segment
from edgewhisper.runtime.protocols import Floats
from tests.conftest import BundledRecording
from tests.runtime.listening.noises import RATE

PAUSE = 1.0  # seconds between recordings


class Given:
    """Sound from an array, a few samples at a time; then perhaps a failure."""

    name = "array"

    def __init__(
        self, samples: Floats, size: int = 512, can_wait: bool = True, fails: AudioError | None = None
    ) -> None:
        self.samples, self.size, self.can_wait, self.fails = samples, size, can_wait, fails

    def blocks(self, stopped: threading.Event) -> Iterator[Block]:
        for start in range(0, len(self.samples), self.size):
            if stopped.is_set():
                return
            yield Block(self.samples[start : start + self.size])
        if self.fails is not None:
            raise self.fails


def joined(recordings: Sequence[BundledRecording]) -> Floats:
    silence = np.zeros(round(PAUSE * RATE), np.float32)
    sounds = [silence]
    for recording in recordings:
        sounds += [soundfile.read(recording.path, dtype="float32")[0], silence]
    return np.concatenate(sounds)


def utterances(heard: Sequence[Heard]) -> list[Utterance]:
    return [each for each in heard if isinstance(each, Utterance)]


class Slow:
    """Stands for a transcriber that takes its time, also for each second of sound; the text is how much it was given."""

    def __init__(self, transcriber: Transcriber, seconds: float, per_second: float = 0.0) -> None:
        self.manifest, self.guesses_are_exact = transcriber.manifest, True
        self.seconds, self.per_second = seconds, per_second
        self.decoded: list[tuple[int, Sequence[int] | None]] = []

    def transcribe(
        self, samples: Floats, options: DecodingOptions, sample_rate: int
    ) -> tuple[Iterator[Segment], object]:
        time.sleep(self.seconds + self.per_second * len(samples) / sample_rate)
        self.decoded.append((len(samples), options.hypothesis))
        return iter([Segment(0, 1, f" {len(samples)}", (1, 2), -0.1, 0.0, 1.0, 0.0)]), self

    language = "en"  # of what it returns as info

    @property
    def as_transcriber(self) -> Transcriber:
        return cast(Transcriber, self)


def tones(*seconds: float) -> Floats:
    """Tones of these lengths, each after a second of silence."""
    pieces = []
    for length in seconds:
        tone = 0.3 * np.sin(2 * np.pi * 300 * np.arange(round(length * RATE)) / RATE)
        pieces += [np.zeros(RATE), tone]
    return np.concatenate(pieces).astype(np.float32)


def bursts(count: int) -> Floats:
    """So many tones of half a second, a second apart."""
    return tones(*[0.5] * count)


class Live(Given):
    """Sound that takes its time, or half of it."""

    speed = 2.0

    def blocks(self, stopped: threading.Event) -> Iterator[Block]:
        for block in super().blocks(stopped):
            time.sleep(len(block.samples) / RATE / self.speed)
            yield block
