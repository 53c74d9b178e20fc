"""Training windows: which slice of a recording the model hears and which tokens it should say.

Long recordings are cut where Whisper's sequential algorithm would cut them (section 4.5 of "Robust Speech
Recognition via Large-Scale Weak Supervision"; `generate` of transformers): after the last complete sentence of a
window, or by a whole window where no sentence is complete. A sentence that runs over the window's end has a start
timestamp, the words heard, and no end timestamp.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .corpus import Transcribed
from .features import FRAMES_PER_SECOND, WINDOW_FRAMES
from .recordings import WINDOW_SECONDS, SpokenSentence
from .tokenizer import TIMESTAMP_SECONDS

_RANDOM_OFFSETS_PER_SECOND = 0.04
"""Extra windows of long recordings that begin anywhere, in mid-sentence too."""

_HEARD_START = 0.1
"""Seconds of a sentence in the window from which it gets a start timestamp though no word is complete."""


@dataclass(frozen=True)
class Segment:
    """One segment of a window; times in seconds from the window's start."""

    start: float
    text: str
    end: float | None
    """None where the sentence runs over the window's end."""


@dataclass(frozen=True)
class Window:
    """A slice of a recording's features with the segments heard in it."""

    recording: Transcribed
    first_frame: int
    segments: tuple[Segment, ...]
    previous: str
    """What was said before the window, for the prompt."""

    timestamps_only: bool
    """The window begins where only decoding with timestamps can have led."""

    @property
    def frames(self) -> int:
        """Frames before the padding."""
        return min(len(self.recording.features.frames) - self.first_frame, WINDOW_FRAMES)

    @property
    def text(self) -> str:
        return " ".join(segment.text for segment in self.segments if segment.text)


def windows(recording: Transcribed, rng: random.Random) -> Iterator[Window]:
    """The windows of one recording that training uses."""
    length = len(recording.features.frames)
    yield from _sequential(recording)
    if length > WINDOW_FRAMES:
        for _ in range(round(length / FRAMES_PER_SECOND * _RANDOM_OFFSETS_PER_SECOND)):
            first = 2 * rng.randrange((length - FRAMES_PER_SECOND) // 2)
            yield _window(recording, first, timestamps_only=False)


def _sequential(recording: Transcribed) -> Iterator[Window]:
    first = 0
    while first < len(recording.features.frames):
        window = _window(recording, first, timestamps_only=first % WINDOW_FRAMES != 0)
        yield window
        first += seek_frames(window.segments)


def seek_frames(segments: Sequence[Segment]) -> int:
    """How far Whisper's sequential algorithm moves on after these segments."""
    complete = [segment.end for segment in segments if segment.end is not None]
    if not segments or not complete or segments[-1].end is not None:
        return WINDOW_FRAMES
    return round(complete[-1] / TIMESTAMP_SECONDS) * round(TIMESTAMP_SECONDS * FRAMES_PER_SECOND)


def _window(recording: Transcribed, first_frame: int, timestamps_only: bool) -> Window:
    offset = first_frame / FRAMES_PER_SECOND
    segments = []
    for sentence in recording.sentences:
        segment = _segment(sentence, offset)
        if segment is not None:
            segments.append(segment)
    before = [sentence.text for sentence in recording.sentences if sentence.end <= offset + TIMESTAMP_SECONDS]
    return Window(recording, first_frame, tuple(segments), " ".join(before), timestamps_only)


def _segment(sentence: SpokenSentence, offset: float) -> Segment | None:
    """The part of a sentence in the window at `offset`: a word belongs to the window that holds its middle."""
    if sentence.end <= offset or sentence.start > offset + WINDOW_SECONDS - _HEARD_START:
        return None
    heard = [
        word.text for word in sentence.words if 0 <= (word.start + word.end) / 2 - offset < WINDOW_SECONDS
    ]
    complete = sentence.end <= offset + WINDOW_SECONDS
    if complete and not heard:
        return None
    start = max(sentence.start - offset, 0.0)
    return Segment(start, " ".join(heard), sentence.end - offset if complete else None)
