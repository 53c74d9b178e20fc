"""Features are exactly what transformers' feature extractor and long-form `generate` see."""

import numpy as np
import numpy.typing as npt
import pytest
from transformers import WhisperFeatureExtractor

from edgewhisper.distill.features import MEL_BINS, WINDOW_FRAMES, LogMel, log_mel


def tone(seconds: float, level: float = 0.3) -> npt.NDArray[np.int16]:
    time = np.arange(round(seconds * 16000)) / 16000
    swept = level * np.sin(2 * np.pi * (200 + 150 * time) * time)
    return np.round(swept * 32767).astype(np.int16)


def extract(samples: npt.NDArray[np.int16], **options: object) -> npt.NDArray[np.float16]:
    extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=8)
    waveform = samples.astype(np.float32) / 32768
    batch = extractor(waveform, sampling_rate=16000, return_tensors="np", **options)
    return np.asarray(batch.input_features[0].T, np.float16)


def padded(features: LogMel) -> npt.NDArray[np.float16]:
    window = np.full((WINDOW_FRAMES, MEL_BINS), features.padding, np.float16)
    window[: len(features.frames)] = features.frames
    return window


@pytest.mark.parametrize("seconds", [0.05, 1.0, 3.337, 7.97, 8.0])
def test_a_clip_padded_with_its_padding_value_is_the_zero_padded_window(seconds: float) -> None:
    samples = tone(seconds)
    np.testing.assert_array_equal(padded(log_mel(samples)), extract(samples))


def test_silence_is_a_constant_window() -> None:
    samples = np.zeros(16000, np.int16)
    np.testing.assert_array_equal(padded(log_mel(samples)), extract(samples))


def test_a_long_recording_is_extracted_whole_and_padded_with_zero() -> None:
    samples = np.concatenate([tone(6, 0.01), tone(6, 0.9)])
    features = log_mel(samples)
    np.testing.assert_array_equal(features.frames, extract(samples, truncation=False, padding="longest"))
    assert features.padding == 0.0
    assert len(features.frames) == 1200
