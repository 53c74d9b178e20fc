"""Uncompressed samples from a file or a pipe."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgewhisper.errors import UsageError

from .recording import Recording, block_length

Encoding = Literal["u8", "s16le", "s24le", "s32le", "f32le", "f64le"]  # named as in ffmpeg

_SAMPLE_BYTES: dict[Encoding, int] = {"u8": 1, "s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4, "f64le": 8}


@dataclass(frozen=True)
class RawFormat:
    """How to read samples that have no header.

    Raises:
        UsageError: a rate or channel count below one, or an unknown encoding.
    """

    sample_rate: int  # Hz
    channels: int = 1  # interleaved
    encoding: Encoding = "s16le"

    def __post_init__(self) -> None:
        if self.sample_rate < 1:
            raise UsageError(f"raw PCM: sample rate {self.sample_rate} is not positive")
        if self.channels < 1:
            raise UsageError(f"raw PCM: {self.channels} channels; give at least 1")
        if self.encoding not in _SAMPLE_BYTES:
            raise UsageError(
                f"raw PCM: unknown encoding '{self.encoding}'; give one of {', '.join(get_args(Encoding))}"
            )

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * _SAMPLE_BYTES[self.encoding]


def open_pcm(file: IO[bytes], raw: RawFormat, data_bytes: int | None) -> Recording:
    """Samples from the current position of `file` on, `data_bytes` of them or up to the end; half a frame is dropped."""
    n_samples = None if data_bytes is None else data_bytes // raw.frame_bytes
    return Recording(raw.sample_rate, n_samples, _pcm_blocks(file, raw, n_samples))


def _pcm_blocks(file: IO[bytes], raw: RawFormat, n_samples: int | None) -> Iterator[NDArray[np.float32]]:
    length = block_length(raw.channels)
    while n_samples is None or n_samples > 0:
        wanted = length if n_samples is None else min(length, n_samples)
        data = read_fully(file, wanted * raw.frame_bytes)
        got = len(data) // raw.frame_bytes
        if got:
            yield decode_pcm(data[: got * raw.frame_bytes], raw.encoding).reshape(got, raw.channels)
        if got < wanted:
            return
        if n_samples is not None:
            n_samples -= got


def decode_pcm(data: bytes, encoding: Encoding) -> NDArray[np.float32]:
    """Little-endian samples as float32, integers divided by their full scale: [samples]."""
    match encoding:
        case "u8":
            return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / np.float32(128)
        case "s16le":
            return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(2**15)
        case "s24le":
            high_bytes = np.zeros((len(data) // 3, 4), np.uint8)
            high_bytes[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            return high_bytes.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
        case "s32le":
            return np.frombuffer(data, "<i4").astype(np.float32) / np.float32(2**31)
        case "f32le":
            return np.frombuffer(data, "<f4").astype(np.float32, copy=False)
        case "f64le":
            with np.errstate(over="ignore"):  # becomes infinite and is reported with its position
                return np.frombuffer(data, "<f8").astype(np.float32)


def read_fully(file: IO[bytes], n_bytes: int) -> bytes:
    """Read `n_bytes`, fewer only at the end: one read of a pipe may return less than it was asked for."""
    data = file.read(n_bytes)
    while data and len(data) < n_bytes:
        more = file.read(n_bytes - len(data))
        if not more:
            break
        data += more
    return data or b""
