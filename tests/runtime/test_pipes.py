"""Recordings that come through a pipe, and samples without a header."""

import io
import os
import threading
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import soundfile
from hypothesis import strategies

from edgewhisper.errors import AudioError
from edgewhisper.runtime.audio import RawFormat, open_audio
from edgewhisper.runtime.pcm import Encoding
from tests.sounds import RATE, WAV_ENCODINGS, Pipe, encoded, pipe, samples_of, sine


@pytest.mark.parametrize(("subtype", "encoding"), WAV_ENCODINGS)
def test_raw_pcm_is_read_with_the_stated_format(tmp_path: Path, subtype: str, encoding: Encoding) -> None:
    stereo = np.stack([sine(8_000), -sine(8_000) / 3], axis=1)
    path = tmp_path / "recording.raw"
    soundfile.write(path, stereo, 8_000, subtype=subtype, format="RAW", endian="LITTLE")
    expected = samples_of(io.BytesIO(encoded(stereo, 8_000, "WAV", subtype)))
    raw = RawFormat(8_000, 2, encoding)
    assert np.array_equal(samples_of(path, raw=raw), expected)
    assert np.array_equal(samples_of(pipe(path.read_bytes()), raw=raw), expected)
    with open_audio(path, raw=raw) as audio:
        assert audio.duration == 2.0


@hypothesis.given(sizes=strategies.lists(strategies.integers(1, 5_000), max_size=40))
def test_a_pipe_may_give_any_number_of_bytes_at_a_time(sizes: list[int]) -> None:
    samples = sine(RATE, seconds=0.2)
    data = encoded(samples, RATE, "WAV", "PCM_24")
    assert np.array_equal(samples_of(pipe(data, iter(sizes))), samples_of(io.BytesIO(data)))


def test_a_sample_cut_in_half_at_the_end_is_dropped() -> None:
    assert np.array_equal(samples_of(pipe(b"\x00\x40\x00"), raw=RawFormat(RATE)), [0.5])


@pytest.mark.parametrize(("kind", "subtype"), [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("WAV", "ULAW")])
def test_other_formats_from_a_pipe_go_through_a_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, subtype: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data = encoded(sine(RATE), RATE, kind, subtype)
    with open_audio(pipe(data)) as audio:
        assert audio.seekable_twice
        first = np.concatenate(list(audio))
        audio.reopen()
        assert np.array_equal(np.concatenate(list(audio)), first)
    assert np.array_equal(first, samples_of(io.BytesIO(data)))
    assert not list(tmp_path.iterdir())


def test_a_named_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    data = encoded(sine(RATE), RATE, "WAV", "PCM_16")
    writer = threading.Thread(target=path.write_bytes, args=[data])
    writer.start()
    read = samples_of(path)
    writer.join()
    assert np.array_equal(read, samples_of(io.BytesIO(data)))


def test_a_pipe_cannot_be_reopened() -> None:
    with (
        open_audio(pipe(b"\0\0"), raw=RawFormat(RATE)) as audio,
        pytest.raises(AudioError, match="only once"),
    ):
        audio.reopen()


def test_a_buffered_pipe_works_like_an_unbuffered_one() -> None:
    data = encoded(sine(RATE), RATE, "WAV", "PCM_16")
    assert np.array_equal(samples_of(io.BufferedReader(Pipe(data))), samples_of(io.BytesIO(data)))
