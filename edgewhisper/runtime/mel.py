"""The mel filter bank of Whisper: triangles of equal area on Slaney's mel scale.

Malcolm Slaney, "Auditory Toolbox", technical report 1998-010, Interval Research Corporation; the default of
librosa.filters.mel, from which openai-whisper's stored filters were made.
"""

import numpy as np
from numpy.typing import NDArray

_LINEAR_HZ = 200.0 / 3.0  # width of a mel below 1 kHz
_LOG_START_HZ = 1000.0  # from here on the scale is logarithmic
_LOG_START_MEL = _LOG_START_HZ / _LINEAR_HZ
_LOG_STEP = np.log(6.4) / 27.0  # 27 mels from 1 kHz to 6.4 kHz


def mel_filter_bank(n_mels: int, n_fft: int, sample_rate: int) -> NDArray[np.float32]:
    """Weights [n_mels, n_fft // 2 + 1] that sum the power of the Fourier bins into mel bands from 0 Hz to half the rate."""
    bins = np.linspace(0.0, sample_rate / 2, n_fft // 2 + 1)
    edges = _mel_to_hz(np.linspace(0.0, _hz_to_mel(sample_rate / 2), n_mels + 2))
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (bins - lower) / (centre - lower)
    falling = (upper - bins) / (upper - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * (2.0 / (upper - lower))).astype(np.float32)


def _hz_to_mel(hz: float) -> float:
    if hz < _LOG_START_HZ:
        return hz / _LINEAR_HZ
    return float(_LOG_START_MEL + np.log(hz / _LOG_START_HZ) / _LOG_STEP)


def _mel_to_hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithmic = _LOG_START_HZ * np.exp(_LOG_STEP * (mels - _LOG_START_MEL))
    return np.where(mels < _LOG_START_MEL, mels * _LINEAR_HZ, logarithmic)
