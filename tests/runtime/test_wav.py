"""WAV on a pipe gives what the file gives, and a recording that was cut off is not taken for a shorter one."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from edgewhisper.errors import AudioError
from edgewhisper.runtime.audio import open_audio
from edgewhisper.runtime.pcm import Encoding
from tests.sounds import RATE, WAV_ENCODINGS, encoded, pipe, samples_of, sine


def stating(data: bytes, length: int) -> bytes:
    """A WAV recording whose header states that so many bytes of samples follow."""
    at = data.index(b"data") + 4
    return data[:at] + struct.pack("<I", length) + data[at + 4 :]


@pytest.mark.parametrize(("subtype", "encoding"), WAV_ENCODINGS)
@pytest.mark.parametrize("length", [None, 0, 0xFFFFFFFF])
def test_wav_from_a_pipe_is_streamed_and_gives_what_the_file_gives(
    tmp_path: Path, subtype: str, encoding: Encoding, length: int | None
) -> None:
    stereo = np.stack([sine(8_000), sine(8_000)[::-1]], axis=1)
    path = tmp_path / "recording.wav"
    soundfile.write(path, stereo, 8_000, subtype=subtype)
    data = path.read_bytes()
    if length is not None:
        data = stating(data, length)
    with open_audio(pipe(data)) as audio:
        assert not audio.seekable_twice
        assert audio.duration is None
        assert np.array_equal(np.concatenate(list(audio)), samples_of(path))


def test_chunks_after_the_samples_of_a_wav_pipe_are_not_sound() -> None:
    samples = sine(RATE)
    data = encoded(samples, RATE, "WAV", "FLOAT") + b"LIST\x04\x00\x00\x00INFO"
    assert np.array_equal(samples_of(pipe(data)), samples)


def test_a_wav_file_that_was_never_finished_gives_its_samples(tmp_path: Path) -> None:
    samples = sine(RATE)
    data = encoded(samples, RATE, "WAV", "PCM_16")
    path = tmp_path / "killed.wav"
    path.write_bytes(stating(data, 0))
    with open_audio(path) as audio:
        assert audio.duration == 2.0
        assert np.array_equal(np.concatenate(list(audio)), samples_of(io.BytesIO(data)))


@pytest.mark.parametrize("stated", [0, 0x7FFFF000, 0x7FFFFFFE, 0x80000000, 0xFFFFFFFF])
def test_a_length_that_the_recorder_could_not_know_is_not_believed(stated: int) -> None:
    samples = sine(RATE)
    data = stating(encoded(samples, RATE, "WAV", "FLOAT"), stated)
    assert np.array_equal(samples_of(pipe(data)), samples)
    assert np.array_equal(samples_of(io.BytesIO(data)), samples)


def test_a_length_that_counts_the_header_too_is_forgiven() -> None:
    samples = sine(RATE)
    data = encoded(samples, RATE, "WAV", "PCM_16")
    whole = samples_of(io.BytesIO(data))
    miscounted = stating(data, len(data))
    assert np.array_equal(samples_of(pipe(miscounted)), whole)
    assert np.array_equal(samples_of(io.BytesIO(miscounted)), whole)


def test_a_wav_pipe_that_ends_early_gives_its_samples_and_then_an_error() -> None:
    samples = sine(RATE)
    data = encoded(samples, RATE, "WAV", "FLOAT")
    given: list[NDArray[np.float32]] = []
    with (
        open_audio(pipe(data[:-RATE])) as audio,
        pytest.raises(AudioError, match=r"cut off after 1\.8 of 2\.0 s"),
    ):
        given.extend(audio)
    assert np.array_equal(np.concatenate(given), samples[: -RATE // 4])


def test_a_wav_file_that_is_cut_off_is_an_error_before_any_sample() -> None:
    data = encoded(sine(RATE), RATE, "WAV", "PCM_24")
    with pytest.raises(AudioError, match=r"cut off after 1\.0 of 2\.0 s"):
        open_audio(io.BytesIO(data[: len(data) // 2]))
