"""WAV: streams on a pipe, and where a recording should end.

libsndfile seeks while it reads a header, so a stream on a pipe is parsed here; and of a file that is shorter than its
header states it gives what is there, as if that were all. (RIFF/WAVE, "Multimedia Programming Interface and Data
Specifications 1.0", IBM and Microsoft 1991; WAVE_FORMAT_EXTENSIBLE; RF64, EBU Tech 3306.)
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import IO

import numpy as np
from numpy.typing import NDArray

from edgewhisper.errors import AudioError

from .pcm import Encoding, RawFormat, open_pcm, read_fully
from .recording import Recording

_INTEGER, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE  # wFormatTag
_ENCODINGS: dict[tuple[int, int], Encoding] = {
    (_INTEGER, 8): "u8",
    (_INTEGER, 16): "s16le",
    (_INTEGER, 24): "s24le",
    (_INTEGER, 32): "s32le",
    (_FLOAT, 32): "f32le",
    (_FLOAT, 64): "f64le",
}
# What programs write that cannot go back to fill in the length of the data.
_UNKNOWN_LENGTHS = (0, 0xFFFFFFFF)
# From here on a length may be a stand-in: sox writes this one into a pipe, arecord 0x80000000 less a rest.
_LENGTH_OF_ANY = 0x7FFFF000
# Some programs count the header among the data.
_PLAIN_HEADER_BYTES = 44
# Chunks before the samples (titles, cue points) are smaller; more is a damaged length.
_MAX_HEADER_BYTES = 1 << 20


@dataclass(frozen=True)
class WavHeader:
    """What stands before the samples of a WAV stream."""

    format: RawFormat
    data_bytes: int | None  # None: up to the end of the stream


def open_wav_stream(file: IO[bytes], header: WavHeader, name: str) -> Recording:
    """The samples after a header that was read; they raise AudioError where they end before the header says."""
    recording = open_pcm(file, header.format, header.data_bytes)
    return replace(recording, blocks=_checked_at_the_end(recording.blocks, header, name))


def _checked_at_the_end(
    blocks: Iterator[NDArray[np.float32]], header: WavHeader, name: str
) -> Iterator[NDArray[np.float32]]:
    n_samples = 0
    for block in blocks:
        n_samples += len(block)
        yield block
    frame_bytes = header.format.frame_bytes
    stated = (header.data_bytes or 0) // frame_bytes
    _check_length(
        n_samples * frame_bytes, stated * frame_bytes, header.format.sample_rate * frame_bytes, name
    )


def check_wav_length(file: IO[bytes], name: str, size: int) -> None:
    """Check that a file of `size` bytes is as long as its header states; what is not WAV passes. Moves the position.

    Raises:
        AudioError: it was cut off.
    """
    file.seek(0)
    start = read_fully(file, 12)
    if start[:4] not in (b"RIFF", b"RF64") or start[8:] != b"WAVE":
        return
    bytes_per_second = long_length = 0
    while len(chunk := read_fully(file, 8)) == 8:
        kind, length = chunk[:4], int.from_bytes(chunk[4:], "little")
        position = file.tell()
        if kind == b"fmt ":
            bytes_per_second = int.from_bytes(read_fully(file, 12)[8:], "little")
        elif kind == b"ds64":  # RF64 states the lengths that 32 bits cannot hold here
            long_length = int.from_bytes(read_fully(file, 16)[8:], "little")
        elif kind == b"data":
            stated = length if length not in _UNKNOWN_LENGTHS else long_length
            _check_length(size - position, stated, bytes_per_second, name)
            return
        file.seek(position + length + length % 2, os.SEEK_SET)


def _check_length(found: int, stated: int, bytes_per_second: int, name: str) -> None:
    """Raise AudioError if fewer bytes of samples were found than stated."""
    if stated - found <= _PLAIN_HEADER_BYTES or stated >= _LENGTH_OF_ANY:
        return
    lengths = f"{found} of {stated} bytes"
    if bytes_per_second:
        lengths = f"{found / bytes_per_second:.1f} of {stated / bytes_per_second:.1f} s"
    raise AudioError(f"{name}: cut off after {lengths}; copy it again, or convert what is left of it")


def read_wav_header(file: IO[bytes], name: str) -> tuple[WavHeader | None, bytes]:
    """Read up to the first sample of a WAV stream.

    Returns:
        The header, or None where this is not WAV or its samples are compressed; and the bytes taken from the stream.

    Raises:
        AudioError: the stream ends inside the header, or the header is damaged.
    """
    taken = read_fully(file, 12)
    if taken[:4] != b"RIFF" or taken[8:12] != b"WAVE":
        return None, taken
    raw: RawFormat | None = None
    while len(taken) < _MAX_HEADER_BYTES:
        chunk = read_fully(file, 8)
        taken += chunk
        if len(chunk) < 8:
            raise AudioError(f"{name}: the WAV header is cut off; record or copy it again")
        kind, size = chunk[:4], int.from_bytes(chunk[4:], "little")
        if kind == b"data":
            if raw is None:
                raise AudioError(
                    f"{name}: the WAV header does not describe its samples; record or copy it again"
                )
            return WavHeader(raw, None if size in _UNKNOWN_LENGTHS else size), taken
        body = read_fully(file, min(size + size % 2, _MAX_HEADER_BYTES))  # padded to an even length
        taken += body
        if kind == b"fmt ":
            raw = _parse_format_chunk(body, name)
            if raw is None:
                return None, taken
    raise AudioError(f"{name}: the WAV header is damaged; record or copy it again")


def _parse_format_chunk(body: bytes, name: str) -> RawFormat | None:
    if len(body) < 16:
        raise AudioError(f"{name}: the WAV header is damaged; record or copy it again")
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", body)
    if tag == _EXTENSIBLE and len(body) >= 26:
        (tag,) = struct.unpack_from("<H", body, 24)  # the sub-format's identifier begins with the plain tag
    encoding = _ENCODINGS.get((tag, bits))
    if encoding is None:
        return None
    if not rate or not channels:
        raise AudioError(
            f"{name}: the WAV header states {channels} channels at {rate} Hz; record or copy it again"
        )
    return RawFormat(rate, channels, encoding)
