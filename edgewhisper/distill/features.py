"""Log-mel features of recordings, computed by transformers' WhisperFeatureExtractor."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from transformers import WhisperFeatureExtractor

from .espeak import SAMPLE_RATE
from .recordings import WINDOW_SECONDS

MEL_BINS = 80
HOP_SAMPLES = 160
FRAMES_PER_SECOND = SAMPLE_RATE // HOP_SAMPLES
WINDOW_FRAMES = int(WINDOW_SECONDS * FRAMES_PER_SECOND)

FULL_SCALE = np.float32(1 / 32768)
"""Of one step of 16-bit PCM."""

_STFT_REACH = 3
"""Frames after the last sample's frame that a 400-sample analysis window still touches, rounded up."""

_LONG_FORM_PADDING = 0.0
"""transformers' long-form `generate` pads the last slice of a long recording's features with this value."""


@dataclass(frozen=True)
class LogMel:
    """Features up to the recording's end and the constant value that follows in the window."""

    frames: npt.NDArray[np.float16]
    """Shape (frames, mel bins)."""

    padding: float


@cache
def feature_extractor() -> WhisperFeatureExtractor:
    """The demo model's feature extractor: 80 mel bins, a window of eight seconds."""
    return WhisperFeatureExtractor(
        feature_size=MEL_BINS,
        sampling_rate=SAMPLE_RATE,
        hop_length=HOP_SAMPLES,
        chunk_length=int(WINDOW_SECONDS),
    )


def log_mel(samples: npt.NDArray[np.int16]) -> LogMel:
    """Features as `generate` sees them: one window padded with zero samples, or the whole of a longer recording.

    In the first case the features of the added silence are all one value (the clamp at eight decades below the
    maximum), so that only the frames up to the recording's end are kept.
    """
    waveform = samples.astype(np.float32) * FULL_SCALE
    if len(waveform) <= WINDOW_FRAMES * HOP_SAMPLES:
        window = _extract(waveform, padding="max_length", truncation=True)
        used = min(-(-len(waveform) // HOP_SAMPLES) + _STFT_REACH, WINDOW_FRAMES)
        return LogMel(window[:used], float(window[-1, 0]))
    return LogMel(_extract(waveform, padding="longest", truncation=False), _LONG_FORM_PADDING)


def _extract(waveform: npt.NDArray[np.float32], padding: str, truncation: bool) -> npt.NDArray[np.float16]:
    batch = feature_extractor()(
        waveform, sampling_rate=SAMPLE_RATE, padding=padding, truncation=truncation, return_tensors="np"
    )
    return np.ascontiguousarray(batch.input_features[0].T.astype(np.float16))
