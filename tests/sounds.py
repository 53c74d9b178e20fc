"""Sounds to read: a tone, encoded as a recording or given out by a pipe."""

import io
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import numpy as np
import soundfile
from numpy.typing import NDArray

from edgewhisper.runtime.audio import open_audio
from edgewhisper.runtime.pcm import Encoding

RATE = 16_000
WAV_ENCODINGS: list[tuple[str, Encoding]] = [
    ("PCM_U8", "u8"),
    ("PCM_16", "s16le"),
    ("PCM_24", "s24le"),
    ("PCM_32", "s32le"),
    ("FLOAT", "f32le"),
    ("DOUBLE", "f64le"),
]


class Pipe(io.RawIOBase):
    """Bytes that cannot be sought, given out a few at a time."""

    def __init__(self, data: bytes, sizes: Iterator[int] | None = None) -> None:
        self._data = io.BytesIO(data)
        self._sizes = sizes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        limit = len(buffer) if self._sizes is None else next(self._sizes, 7)
        data = self._data.read(min(limit, len(buffer)))
        buffer[: len(data)] = data
        return len(data)


def pipe(data: bytes, sizes: Iterator[int] | None = None) -> BinaryIO:
    return cast(BinaryIO, Pipe(data, sizes))


def sine(rate: int, seconds: float = 2.0, frequency: float = 440.0) -> NDArray[np.float32]:
    time = np.arange(round(rate * seconds)) / rate
    return (0.4 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def samples_of(source: Any, **options: Any) -> NDArray[np.float32]:
    with open_audio(source, **options) as audio:
        return np.concatenate(list(audio))


def encoded(samples: NDArray[np.float32], rate: int, kind: str, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()
