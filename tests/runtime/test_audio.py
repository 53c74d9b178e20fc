"""Recordings of every format, rate and channel count become the same mono samples."""

import io
import os
import shutil
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, cast

import hypothesis
import numpy as np
import pytest
import soundfile
from hypothesis import strategies
from numpy.typing import NDArray

from edgewhisper.errors import AudioError
from edgewhisper.runtime.audio import AudioStream, RawFormat, open_audio
from edgewhisper.runtime.pcm import Encoding
from edgewhisper.runtime.recording import Recording

RATE = 16_000
LOSSLESS = [
    ("WAV", "PCM_U8", 2**-7),
    ("WAV", "PCM_16", 2**-15),
    ("WAV", "PCM_24", 2**-23),
    ("WAV", "PCM_32", 2**-23),  # what float32 resolves
    ("WAV", "FLOAT", 0),
    ("WAV", "DOUBLE", 0),
    ("WAVEX", "PCM_24", 2**-23),
    ("RF64", "PCM_16", 2**-15),
    ("FLAC", "PCM_16", 2**-15),
    ("FLAC", "PCM_24", 2**-23),
    ("AIFF", "PCM_16", 2**-15),
    ("AU", "PCM_16", 2**-15),
    ("CAF", "PCM_16", 2**-15),
]
LOSSY = [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("WAV", "ULAW"), ("WAV", "IMA_ADPCM")]
WAV_ENCODINGS: list[tuple[str, Encoding]] = [
    ("PCM_U8", "u8"),
    ("PCM_16", "s16le"),
    ("PCM_24", "s24le"),
    ("PCM_32", "s32le"),
    ("FLOAT", "f32le"),
    ("DOUBLE", "f64le"),
]
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


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


def cut(samples: NDArray[np.float32], places: list[int]) -> list[NDArray[np.float32]]:
    return np.split(samples, sorted(place % (len(samples) + 1) for place in places))


def fake_ffmpeg(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(("kind", "subtype", "step"), LOSSLESS)
def test_lossless_files_give_the_samples_that_were_written(
    tmp_path: Path, kind: str, subtype: str, step: float
) -> None:
    samples = sine(RATE)
    path = tmp_path / "recording"
    path.write_bytes(encoded(samples, RATE, kind, subtype))
    read = samples_of(path)
    assert read.dtype == np.float32
    assert read.shape == samples.shape
    assert np.abs(read - samples).max() <= step


@pytest.mark.parametrize(("kind", "subtype"), LOSSY)
def test_lossy_files_give_about_the_samples_that_were_written(
    tmp_path: Path, kind: str, subtype: str
) -> None:
    samples = sine(RATE)
    path = tmp_path / "recording"
    path.write_bytes(encoded(samples, RATE, kind, subtype))
    read = samples_of(path)[: len(samples)]
    assert np.corrcoef(read, samples[: len(read)])[0, 1] > 0.99


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000])
def test_any_rate_becomes_the_same_sound_at_the_models_rate(rate: int) -> None:
    resampled = samples_of(sine(rate), sample_rate=rate)
    expected = sine(RATE)
    assert len(resampled) == len(expected)
    settled = slice(RATE // 10, -RATE // 10)  # the ends ring: silence lies beyond them
    assert np.abs(resampled[settled] - expected[settled]).max() < 1e-4


def test_resampling_keeps_out_what_the_models_rate_cannot_hold() -> None:
    resampled = samples_of(sine(48_000, frequency=11_000.0), sample_rate=48_000)
    assert np.abs(resampled[RATE // 10 : -RATE // 10]).max() < 1e-4


def test_the_target_rate_can_be_another() -> None:
    assert len(samples_of(sine(RATE), target_rate=8_000)) == len(sine(8_000))


@pytest.mark.parametrize("channels", [2, 3, 8])
def test_channels_are_averaged(tmp_path: Path, channels: int) -> None:
    samples = np.random.default_rng(channels).uniform(-0.5, 0.5, (5000, channels)).astype(np.float32)
    path = tmp_path / "recording.wav"
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    mean = samples.astype(np.float64).mean(axis=1)
    assert np.abs(samples_of(path) - mean).max() < 1e-6
    assert np.array_equal(samples_of(samples), samples_of(path))


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_integer_arrays_are_divided_by_full_scale(dtype: type[np.signedinteger[Any]]) -> None:
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    read = samples_of(np.array([low, 0, low // 2, high], dtype))
    assert read == pytest.approx([-1.0, 0.0, -0.5, 1.0], abs=1e-4)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_arrays_keep_their_values_beyond_full_scale_too(dtype: type[np.floating[Any]]) -> None:
    assert np.array_equal(
        samples_of(np.array([0.5, -1.5, 4.0], dtype)), np.array([0.5, -1.5, 4.0], np.float32)
    )


def test_float_files_keep_values_beyond_full_scale(tmp_path: Path) -> None:
    samples = 3 * sine(RATE)
    path = tmp_path / "loud.wav"
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    assert np.array_equal(samples_of(path), samples)


def test_clipped_and_silent_recordings_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "clipped.wav"
    soundfile.write(path, np.sign(sine(RATE)), RATE)
    assert np.abs(samples_of(path)).max() == pytest.approx(1.0, abs=1e-4)
    assert not samples_of(np.zeros(100, np.float32)).any()


def test_a_strided_array_is_read_like_its_copy() -> None:
    samples = sine(RATE)
    assert np.array_equal(samples_of(samples[::3]), samples[::3].copy())


@hypothesis.given(
    places=strategies.lists(strategies.integers(0, 10_000)),
    rate=strategies.sampled_from([8_000, 16_000, 44_100]),
)
def test_the_samples_do_not_depend_on_how_the_recording_was_cut(places: list[int], rate: int) -> None:
    samples = np.random.default_rng(1).standard_normal((6_000, 2)).astype(np.float32)

    def resampled(pieces: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        with AudioStream("pieces", lambda _: Recording(rate, None, iter(pieces))) as audio:
            return np.concatenate(list(audio))

    assert np.array_equal(resampled(cut(samples, places)), resampled([samples]))


def test_a_reopened_recording_starts_again(tmp_path: Path) -> None:
    path = tmp_path / "recording.flac"
    soundfile.write(path, sine(44_100, seconds=5), 44_100)
    with open_audio(path) as audio:
        assert audio.seekable_twice
        assert audio.duration == 5.0
        assert audio.name == str(path)
        next(iter(audio))
        audio.reopen()
        assert np.array_equal(np.concatenate(list(audio)), samples_of(path))


@pytest.mark.parametrize(("subtype", "encoding"), WAV_ENCODINGS)
@pytest.mark.parametrize("length", ["stated", "zero", "all ones"])
def test_wav_from_a_pipe_is_streamed_and_gives_what_the_file_gives(
    tmp_path: Path, subtype: str, encoding: Encoding, length: str
) -> None:
    stereo = np.stack([sine(8_000), sine(8_000)[::-1]], axis=1)
    path = tmp_path / "recording.wav"
    soundfile.write(path, stereo, 8_000, subtype=subtype)
    data = path.read_bytes()
    at = data.index(b"data") + 4
    written = {"stated": data[at : at + 4], "zero": bytes(4), "all ones": b"\xff" * 4}[length]
    with open_audio(pipe(data[:at] + written + data[at + 4 :])) as audio:
        assert not audio.seekable_twice
        assert audio.duration is None
        assert np.array_equal(np.concatenate(list(audio)), samples_of(path))


def test_chunks_after_the_samples_of_a_wav_pipe_are_not_sound() -> None:
    samples = sine(RATE)
    data = encoded(samples, RATE, "WAV", "FLOAT") + b"LIST\x04\x00\x00\x00INFO"
    assert np.array_equal(samples_of(pipe(data)), samples)


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


def test_a_file_object_is_read_from_its_start_and_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "recording.wav"
    soundfile.write(path, sine(RATE), RATE)
    with path.open("rb") as file:
        file.seek(100)
        assert np.array_equal(samples_of(file), samples_of(path))
        assert np.array_equal(samples_of(file), samples_of(path))
        assert not file.closed


def test_a_wav_file_that_was_never_finished_gives_its_samples(tmp_path: Path) -> None:
    samples = sine(RATE)
    data = encoded(samples, RATE, "WAV", "PCM_16")
    at = data.index(b"data") + 4
    path = tmp_path / "killed.wav"
    path.write_bytes(data[:at] + bytes(4) + data[at + 4 :])
    with open_audio(path) as audio:
        assert audio.duration == 2.0
        assert np.array_equal(np.concatenate(list(audio)), samples_of(io.BytesIO(data)))


def test_a_truncated_wav_file_gives_the_samples_that_are_there(tmp_path: Path) -> None:
    samples = sine(RATE)
    data = encoded(samples, RATE, "WAV", "PCM_16")
    whole = samples_of(io.BytesIO(data))
    path = tmp_path / "truncated.wav"
    path.write_bytes(data[:-20_000])
    assert np.array_equal(samples_of(path), whole[:-10_000])
    assert np.array_equal(samples_of(pipe(data[:-20_000])), whole[:-10_000])


@needs_ffmpeg
def test_a_flac_stream_of_unknown_length_is_read_whole(tmp_path: Path) -> None:
    source, path = tmp_path / "recording.wav", tmp_path / "stream.flac"
    soundfile.write(source, sine(RATE, seconds=20), RATE)
    convert = ["ffmpeg", "-v", "error", "-i", str(source), "-f", "flac", "pipe:1"]
    path.write_bytes(subprocess.run(convert, stdout=subprocess.PIPE, check=True).stdout)
    with open_audio(path) as audio:
        assert audio.duration is None
        assert np.array_equal(np.concatenate(list(audio)), samples_of(source))


@needs_ffmpeg
@pytest.mark.parametrize(("name", "options"), [
    ("a.m4a", []),
    ("a.aac", []),
    ("a.webm", []),
    ("a.mp4", ["-f", "lavfi", "-i", "testsrc=d=1:s=64x64", "-c:v", "mpeg4"]),
    ("a.mkv", []),
])  # fmt: skip
def test_what_ffmpeg_decodes_keeps_its_sound_and_can_be_reopened(
    tmp_path: Path, name: str, options: list[str]
) -> None:
    source, path = tmp_path / "recording.wav", tmp_path / name
    samples = np.concatenate([np.zeros(8_000, np.float32), sine(RATE, seconds=3)])
    soundfile.write(source, samples, RATE)
    subprocess.run(["ffmpeg", "-v", "error", "-i", source, *options, path], check=True)
    with open_audio(path) as audio:
        assert audio.seekable_twice
        first = np.concatenate(list(audio))
        audio.reopen()
        assert np.array_equal(np.concatenate(list(audio)), first)
    assert abs(len(first) - len(samples)) < 3_000  # encoders add padding
    spectrum = np.abs(np.fft.rfft(first[16_000:32_000]))
    assert spectrum.argmax() == 440  # Hz
    assert np.array_equal(samples_of(io.BytesIO(path.read_bytes())), first)
    assert np.array_equal(samples_of(pipe(path.read_bytes())), first)


def test_closing_early_ends_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = tmp_path / "header"
    header.write_bytes(encoded(np.zeros(4, np.float32), RATE, "WAV", "PCM_16")[:40] + b"\xff" * 4)
    pid = tmp_path / "pid"
    fake_ffmpeg(tmp_path, monkeypatch, f"echo $$ > {pid}\ncat {header}\nexec cat /dev/zero")
    path = tmp_path / "endless.m4a"
    path.write_bytes(b"not for libsndfile")
    with open_audio(path) as audio:
        next(iter(audio))
        os.kill(int(pid.read_text()), 0)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_decoder_that_fails_after_some_samples_is_an_error_and_not_a_shorter_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wav = tmp_path / "some.wav"
    soundfile.write(wav, sine(RATE), RATE)
    fake_ffmpeg(
        tmp_path, monkeypatch, f"cat {wav}\necho 'first line' >&2\necho 'frame 7 is broken' >&2\nexit 1"
    )
    path = tmp_path / "broken.m4a"
    path.write_bytes(b"not for libsndfile")
    with (
        open_audio(path) as audio,
        pytest.raises(AudioError, match=r"broken\.m4a: .*\(ffmpeg: frame 7 is broken\)"),
    ):
        list(audio)


def test_a_recording_is_closed_as_soon_as_it_ends() -> None:
    closed: list[str] = []

    def opener(resources: ExitStack) -> Recording:
        resources.callback(closed.append, "recording")
        return Recording(RATE, 1, iter([np.zeros((1, 1), np.float32)]))

    audio = AudioStream("one sample", opener)
    assert not closed
    list(audio)
    assert closed == ["recording"]


def test_a_pipe_cannot_be_reopened() -> None:
    with (
        open_audio(pipe(b"\0\0"), raw=RawFormat(RATE)) as audio,
        pytest.raises(AudioError, match="only once"),
    ):
        audio.reopen()


def test_a_buffered_pipe_works_like_an_unbuffered_one() -> None:
    data = encoded(sine(RATE), RATE, "WAV", "PCM_16")
    assert np.array_equal(samples_of(io.BufferedReader(Pipe(data))), samples_of(io.BytesIO(data)))
