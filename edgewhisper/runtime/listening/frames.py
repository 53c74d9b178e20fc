"""Frames of sound that follow each other, and the utterance that some of them are."""

from dataclasses import dataclass

import numpy as np

from ..protocols import Floats
from .heard import EndedBy

_SMOOTHED = 5  # frames: loudness over 160 ms tells a pause between words from the closure of a consonant


@dataclass(frozen=True)
class Speech:
    """An utterance as sound. Positions are samples since the stream began, times those of `time.monotonic()`."""

    start: int  # of `samples`
    samples: Floats  # [n]
    voice_start: int  # where the first frame with voice begins
    voice_end: int  # where the last one ends
    heard_at: float  # when the last frame with voice had arrived
    decided_at: float  # when it was known to be over
    ended_by: EndedBy | None  # None while it is under way

    @property
    def end(self) -> int:
        """Where the next sample lies."""
        return self.start + len(self.samples)


@dataclass(frozen=True)
class Frame:
    """A stretch of sound that was judged at once."""

    samples: Floats
    is_voice: bool
    arrived: float  # `time.monotonic()`


class Frames:
    """The latest frames of a stream.

    Attributes:
        end: position of the end of the last frame.
    """

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self.end = 0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def last(self) -> Frame:
        """The latest frame."""
        return self._frames[-1]

    @property
    def silence(self) -> int:
        """How many frames have come since the last one with voice; all of them where none has."""
        reverse = (since for since, frame in enumerate(reversed(self._frames)) if frame.is_voice)
        return next(reverse, len(self))

    def append(self, frame: Frame) -> None:
        """The stream goes on."""
        self._frames.append(frame)
        self.end += len(frame.samples)

    def keep(self, count: int) -> None:
        """Forget all but the last frames."""
        del self._frames[: max(0, len(self) - count)]

    def skip(self, samples: int) -> None:
        """Forget all frames; so many samples are missing before the next one."""
        self._frames.clear()
        self.end += samples

    def quietest(self) -> int:
        """How many frames lie before the softest place of the second half, itself included."""
        power = np.array([np.mean(np.square(frame.samples)) for frame in self._frames])
        smooth = np.convolve(power, np.ones(_SMOOTHED), "same")
        first, last = len(self) // 2, len(self) - _SMOOTHED // 2
        return first + 1 + int(np.argmin(smooth[first:last]))

    def take(self, count: int, least_voice: int, decided_at: float, ended_by: EndedBy) -> Speech | None:
        """Remove the first frames and give them as an utterance; None where fewer than `least_voice` of them have voice."""
        speech = self.first(count, least_voice, decided_at, ended_by)
        del self._frames[:count]
        return speech

    def first(
        self, count: int, least_voice: int, decided_at: float, ended_by: EndedBy | None = None
    ) -> Speech | None:
        """The first frames as an utterance; None where fewer than `least_voice` of them have voice."""
        frames = self._frames[:count]
        voiced = [index for index, frame in enumerate(frames) if frame.is_voice]
        if len(voiced) < least_voice:
            return None
        start = self.end - sum(len(frame.samples) for frame in self._frames)
        bounds = start + np.cumsum([0, *(len(frame.samples) for frame in frames)])
        return Speech(
            start=start,
            samples=np.concatenate([frame.samples for frame in frames]),
            voice_start=int(bounds[voiced[0]]),
            voice_end=int(bounds[voiced[-1] + 1]),
            heard_at=frames[voiced[-1]].arrived,
            decided_at=decided_at,
            ended_by=ended_by,
        )
