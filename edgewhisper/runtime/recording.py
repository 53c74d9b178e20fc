"""A recording as it was made: decoded block by block, at its own sample rate and with all its channels."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgewhisper.errors import AudioError

_BLOCK_SAMPLES = 65_536  # of all channels: 256 KB, large enough that Python's part of the work vanishes


@dataclass(frozen=True)
class Recording:
    """An open recording; who opened it owns its files and processes, and `blocks` can be gone through once."""

    sample_rate: int  # Hz
    n_samples: int | None  # per channel; None where nobody knows before the end
    blocks: Iterator[NDArray[np.float32]]  # each [samples, channels]


def block_length(channels: int) -> int:
    """Samples per channel to decode at once."""
    return max(1, _BLOCK_SAMPLES // channels)


def open_array(samples: NDArray[np.generic], sample_rate: int) -> Recording:
    """Samples in memory: float (1.0 is full scale), int16 or int32; [samples] or [samples, channels].

    Raises:
        AudioError: another shape or type.
    """
    if samples.dtype.kind != "f" and samples.dtype not in (np.int16, np.int32):
        raise AudioError(f"array of {samples.dtype}: give float samples in [-1, 1], int16 or int32")
    if samples.ndim not in (1, 2):
        raise AudioError(f"array of {samples.ndim} dimensions: give [samples] or [samples, channels]")
    channels = samples if samples.ndim == 2 else samples[:, None]
    if channels.shape[1] > max(1, channels.shape[0]):
        raise AudioError(
            f"array of shape {samples.shape} has more channels than samples: give [samples, channels]"
        )
    return Recording(sample_rate, len(samples), _array_blocks(channels))


def _array_blocks(channels: NDArray[np.generic]) -> Iterator[NDArray[np.float32]]:
    if channels.size == 0:
        return
    full_scale = np.float32(1 if channels.dtype.kind == "f" else 2 ** (8 * channels.itemsize - 1))
    length = block_length(channels.shape[1])
    for start in range(0, len(channels), length):
        with np.errstate(over="ignore"):  # becomes infinite and is reported with its position
            block = channels[start : start + length].astype(np.float32, copy=False)
        yield block if full_scale == 1 else block / full_scale
