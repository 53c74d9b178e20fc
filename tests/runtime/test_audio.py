"""Recordings of every format, rate and channel count become the same mono samples."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import soundfile
from hypothesis import strategies
from numpy.typing import NDArray

from edgewhisper.runtime.audio import AudioStream, open_audio
from edgewhisper.runtime.recording import Recording
from tests.sounds import RATE, encoded, samples_of, sine

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


def cut(samples: NDArray[np.float32], places: list[int]) -> list[NDArray[np.float32]]:
    return np.split(samples, sorted(place % (len(samples) + 1) for place in places))


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


def test_a_file_object_is_read_from_its_start_and_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "recording.wav"
    soundfile.write(path, sine(RATE), RATE)
    with path.open("rb") as file:
        file.seek(100)
        assert np.array_equal(samples_of(file), samples_of(path))
        assert np.array_equal(samples_of(file), samples_of(path))
        assert not file.closed


def test_a_recording_is_closed_as_soon_as_it_ends() -> None:
    closed: list[str] = []

    def opener(resources: ExitStack) -> Recording:
        resources.callback(closed.append, "recording")
        return Recording(RATE, 1, iter([np.zeros((1, 1), np.float32)]))

    audio = AudioStream("one sample", opener)
    assert not closed
    list(audio)
    assert closed == ["recording"]
