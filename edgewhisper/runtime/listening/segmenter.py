"""A stream of sound divided into utterances.

Sound is judged in frames of fixed length. What is given out are slices of the stream: no sample lies in two utterances, none is
missing within one, and how many samples come at a time makes no difference.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from ..audio import SAMPLE_RATE
from ..protocols import Floats
from .frames import Frame, Frames, Speech
from .heard import EndedBy
from .options import ListeningOptions
from .voice_activity import FRAME, VoiceActivity

START, STAY = 0.5, 0.15
"""Probability from which on a frame has voice: the first of an utterance, and further ones.

Silero's own program takes 0.35 for the second. After a pause of 0.3 s its network is unsure for a while, so that with 0.35 one pause in a
hundred seemed longer than 0.5 s; with 0.15 one in a thousand, and none 0.6 s. In noise utterances then end 0.05 s later.
"""


class Bounds(Protocol):
    """Says where utterances begin and end."""

    @property
    def ended_by(self) -> EndedBy:
        """What ends them."""
        ...

    def has_begun(self, frames: Frames) -> bool:
        """Whether one begins with the last frame."""
        ...

    def length(self, frames: Frames) -> int:
        """How many of the frames belong to the utterance that began with them, if it is over now."""
        ...

    def is_pausing(self, frames: Frames) -> bool:
        """Whether further silence will not change that length."""
        ...

    def is_over(self, frames: Frames) -> bool:
        """Whether it is over."""
        ...


class Pauses:
    """Utterances begin with a voice and end with a pause."""

    ended_by: EndedBy = "pause"

    def __init__(self, end_delay: int, post_roll: int) -> None:
        """After so many frames without voice an utterance is over, and so many of them belong to it."""
        self._end_delay, self._post_roll = end_delay, min(post_roll, end_delay)

    def has_begun(self, frames: Frames) -> bool:
        """With the first frame that has voice."""
        return frames.last.is_voice

    def length(self, frames: Frames) -> int:
        """Up to a little after the last voice."""
        return len(frames) - max(0, frames.silence - self._post_roll)

    def is_pausing(self, frames: Frames) -> bool:
        """From that little on."""
        return frames.silence >= self._post_roll

    def is_over(self, frames: Frames) -> bool:
        """When the last voice is long enough ago."""
        return frames.silence >= self._end_delay


class Key:
    """Utterances last while a key is held, or between two strokes."""

    ended_by: EndedBy = "key"

    def __init__(self, is_held: Callable[[], bool]) -> None:
        """`is_held` is asked at every frame."""
        self._is_held = is_held

    def has_begun(self, frames: Frames) -> bool:
        """With the key."""
        return self._is_held()

    def length(self, frames: Frames) -> int:
        """Everything until the key is released."""
        return len(frames)

    def is_pausing(self, frames: Frames) -> bool:
        """Never: silence belongs to it."""
        return False

    def is_over(self, frames: Frames) -> bool:
        """When the key is released."""
        return not self._is_held()


class Segmenter:
    """Divides a stream into utterances, by what is called its bounds; one that grows too long is cut where it is softest."""

    def __init__(
        self,
        voice: VoiceActivity,
        options: ListeningOptions,
        max_length: float,
        is_held: Callable[[], bool] | None = None,
    ) -> None:
        """Begin a stream.

        Args:
            voice: judges the frames.
            options: of them, the delays.
            max_length: of an utterance, in seconds.
            is_held: whether the key is held that marks an utterance; None: pauses do.
        """
        pre_roll, post_roll, end_delay, least_voice = (
            -(-round(seconds * SAMPLE_RATE) // FRAME)
            for seconds in (options.pre_roll, options.post_roll, options.end_delay, options.least_voice)
        )
        self._voice = voice
        self._bounds: Bounds = Pauses(end_delay, post_roll) if is_held is None else Key(is_held)
        self._pre_roll, self._least_voice = pre_roll, max(1, least_voice)
        self._most = int(max_length * SAMPLE_RATE) // FRAME
        self._frames = Frames()
        self._is_under_way = False
        self._rest = np.empty(0, np.float32)  # samples that do not fill a frame yet

    def push(self, samples: Floats, arrived: float) -> list[Speech]:
        """The next samples [n] of the stream, at 16 kHz, and when they arrived; the utterances that are over now."""
        pending = np.concatenate((self._rest, samples))
        whole = len(pending) - len(pending) % FRAME
        self._rest = pending[whole:]
        spoken = (self._frame(frame, arrived) for frame in pending[:whole].reshape(-1, FRAME))
        return [speech for speech in spoken if speech is not None]

    def flush(self, now: float, missing: int = 0) -> list[Speech]:
        """The stream ends here, or goes on after a gap of so many samples; the utterance that was under way."""
        self._frames.append(Frame(self._rest, False, now))
        self._rest = np.empty(0, np.float32)
        speech = None
        if self._is_under_way:
            speech = self._frames.take(len(self._frames), self._least_voice, now, "end")
        self._frames.skip(missing)
        self._is_under_way = False
        self._voice.reset()
        return [] if speech is None else [speech]

    @property
    def is_pausing(self) -> bool:
        """Whether an utterance is under way in which nothing is said now: if that lasts, `under_way` is all of it."""
        return self._is_under_way and self._bounds.is_pausing(self._frames)

    def under_way(self, now: float) -> Speech | None:
        """What has been said so far of the utterance that is not over yet."""
        if not self._is_under_way:
            return None
        return self._frames.first(self._bounds.length(self._frames), self._least_voice, now)

    def _frame(self, samples: Floats, arrived: float) -> Speech | None:
        threshold = STAY if self._is_under_way else START
        frames = self._frames
        frames.append(Frame(samples, self._voice.probability(samples) >= threshold, arrived))
        if not self._is_under_way:
            self._is_under_way = self._bounds.has_begun(frames)
            frames.keep(self._pre_roll + self._is_under_way)
            return None
        if self._bounds.is_over(frames):
            self._is_under_way = False
            speech = frames.take(
                self._bounds.length(frames), self._least_voice, arrived, self._bounds.ended_by
            )
            frames.keep(self._pre_roll)
            return speech
        if len(frames) >= self._most:
            return frames.take(frames.quietest(), self._least_voice, arrived, "length")
        return None
