"""Whisper's sequential algorithm for recordings of any length.

A window is decoded, cut into segments at its timestamps, and the next window begins at the last complete segment's end.
The algorithm is openai-whisper's (`transcribe.py`; section 3.8 of arXiv 2212.04356) in the form that transformers 4.57
gives it (`generation_whisper.py`), and writes the same tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edgewhisper.artifact import AudioSettings

from .protocols import FeatureSource, Floats


@dataclass(frozen=True)
class TimedTokens:
    """A stretch of a window's tokens; times are seconds from the window's beginning."""

    start: float
    end: float
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class WindowSegments:
    """A window's tokens cut into segments."""

    segments: tuple[TimedTokens, ...]
    advance: int  # frames from this window's beginning to the next one's


def seconds_per_frame(audio: AudioSettings) -> float:
    """Seconds from one mel frame to the next."""
    return audio.hop_length / audio.sample_rate


def split_window(
    tokens: Sequence[int], frames: int, timestamp_begin: int, audio: AudioSettings
) -> WindowSegments:
    """Cut a window's tokens between pairs of timestamps.

    Args:
        tokens: as decoded, without end of text.
        frames: mel frames of audio in the window.
        timestamp_begin: id of <|0.00|>.
        audio: the window's settings.

    Returns:
        With at least one pair: the segments before the last pair, and a window that moves on to it, as what follows is
        unfinished. If a single timestamp ends the window, nothing is spoken after it: all segments, and a whole window on.
        Without a pair: one segment, and a whole window on. The last segment keeps both timestamps of the last pair.
    """
    is_timestamp = [token >= timestamp_begin for token in tokens]
    cuts = [i for i in range(1, len(tokens)) if is_timestamp[i - 1] and is_timestamp[i]]
    if not cuts:
        last = next((token for token in reversed(tokens) if token >= timestamp_begin), timestamp_begin)
        end = (
            (last - timestamp_begin) * audio.time_precision
            if last > timestamp_begin
            else frames * seconds_per_frame(audio)
        )
        return WindowSegments((TimedTokens(0.0, end, tuple(tokens)),), frames)
    ends_with_single = is_timestamp[-2:] == [False, True]
    if ends_with_single:
        cuts.append(len(tokens))
    segments = []
    for begin, end in zip([0, *cuts], cuts, strict=False):
        start_step, end_step = (tokens[i] - timestamp_begin for i in (begin, end - 1))
        is_last_pair = end == cuts[-1] and not ends_with_single
        piece = tuple(tokens[begin : end + 1 if is_last_pair else end])
        segments.append(
            TimedTokens(start_step * audio.time_precision, end_step * audio.time_precision, piece)
        )
    frames_per_step = round(audio.time_precision / seconds_per_frame(audio))
    advance = frames if ends_with_single else (tokens[cuts[-1] - 1] - timestamp_begin) * frames_per_step
    return WindowSegments(tuple(segments), advance)


class WindowReader:
    """Gives the frames of one window after the other.

    A recording that fits one window counts as long as the window: its padding is decoded like audio when a pair of
    timestamps ends before it, as transformers does with what its feature extractor has padded. Not so without `padded`.
    """

    def __init__(self, features: FeatureSource, n_frames: int, *, padded: bool = True) -> None:
        self._features = features
        self._n_frames = n_frames
        self._counts_padding = features.is_single_window and padded

    def read(self, frame: int) -> tuple[Floats, int] | None:
        """The window at `frame` as [n_mels, n_frames] and how many of its frames count; None after the last window."""
        if self._counts_padding:
            if frame >= self._n_frames:
                return None
            return self._features.window(frame, self._n_frames)[0], self._n_frames - frame
        return None if self._features.ended(frame) else self._features.window(frame, self._n_frames)
