"""Log-mel features against transformers and openai-whisper, and the windows of a stream."""

import tracemalloc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import soundfile
from hypothesis import strategies
from numpy.typing import NDArray

from edgewhisper.artifact import AudioSettings
from edgewhisper.runtime.audio import AudioStream, open_audio
from edgewhisper.runtime.features import LogMelStream
from edgewhisper.runtime.mel import mel_filter_bank
from edgewhisper.runtime.recording import Recording

RATE = 16_000
HOP = 160
WINDOW = 3_000  # frames of Whisper's 30 s
TOLERANCE = 1e-4
RECORDINGS = sorted((Path(__file__).parents[2] / "edgewhisper/models/demo/recordings").glob("*.flac"))


def noise(n_samples: int, level: float = 0.1) -> NDArray[np.float32]:
    return (level * np.random.default_rng(n_samples).standard_normal(n_samples)).astype(np.float32)


def voice(seconds: float) -> NDArray[np.float32]:
    """Syllables of a gliding voice with formants, pauses between them, and the faint hiss of a room."""
    time = np.arange(round(seconds * RATE)) / RATE
    pitch = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * time)) / RATE
    harmonics = np.zeros_like(time)
    for order in range(1, 16):
        harmonics += np.exp(-(((120 * order - 500) / 900) ** 2)) * np.sin(order * pitch)
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * time), 0, None) * (time % 3 < 2.2)
    sound: NDArray[np.float32] = (0.05 * harmonics * syllables).astype(np.float32)
    return sound + noise(len(time), 1e-4)


SIGNALS: dict[str, NDArray[np.float32]] = {
    "voice": voice(7.3),
    "silence": np.zeros(3 * RATE, np.float32),
    "noise": noise(123_457),
    "faint noise": noise(50_001, 1e-5),
    "loud noise": noise(16_000, 3.0),
    "tone": np.sin(2 * np.pi * 440 * np.arange(5 * RATE) / RATE).astype(np.float32),
    "click": np.eye(1, 20_000, 7_777, dtype=np.float32)[0],
    "one sample": np.ones(1, np.float32),
    "seven samples": noise(7),
    "exactly a window": noise(WINDOW * HOP),
    "a window and 39 samples": noise(WINDOW * HOP + 39),
    "a window and 159 samples": noise(WINDOW * HOP + 159),
    "a window and a frame": noise(WINDOW * HOP + HOP),
    "long voice": voice(71.7),
    "long, ending in silence": np.concatenate([noise(500_011), np.zeros(99_990, np.float32)]),
    **{path.stem: soundfile.read(path, dtype="float32")[0] for path in RECORDINGS[:4]},
}


def reference(samples: NDArray[np.float32], n_mels: int, backend: str = "torch") -> NDArray[np.float32]:
    """What transformers computes for one window, or for a longer recording as its documentation says."""
    import torch
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=n_mels)
    if len(samples) < WINDOW * HOP:
        samples = np.pad(samples, (0, WINDOW * HOP - len(samples)))
    with torch.inference_mode():
        if backend == "numpy":
            features = extractor._np_extract_fbank_features(samples[None], "cpu")[0]
        else:
            options = {"truncation": False, "padding": "longest", "return_tensors": "np"}
            features = extractor(samples, sampling_rate=RATE, **options)["input_features"][0]
    return np.asarray(features, np.float32)


def stream_of(samples: NDArray[np.float32], n_mels: int = 80, n_frames: int = WINDOW) -> LogMelStream:
    return LogMelStream(open_audio(samples), AudioSettings(n_mels, n_frames))


def pipe_of(pieces: Iterator[NDArray[np.float32]], n_frames: int = WINDOW) -> LogMelStream:
    blocks = (piece[:, None] for piece in pieces)
    audio = AudioStream("pipe", lambda _: Recording(RATE, None, blocks), seekable_twice=False)
    return LogMelStream(audio, AudioSettings(80, n_frames))


@pytest.mark.parametrize("backend", ["torch", "numpy"])
@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("signal", SIGNALS)
def test_features_are_those_of_transformers(signal: str, n_mels: int, backend: str) -> None:
    expected = reference(SIGNALS[signal], n_mels, backend)
    log_mel, _ = stream_of(SIGNALS[signal], n_mels).window(0, expected.shape[1])
    assert log_mel.dtype == np.float32
    assert log_mel.shape == expected.shape
    assert np.abs(log_mel - expected).max() <= TOLERANCE


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("signal", ["voice", "noise", "silence", "tone", "long voice"])
def test_features_are_those_of_openai_whisper(signal: str, n_mels: int) -> None:
    audio = openai_audio()
    samples = SIGNALS[signal]
    fits = len(samples) <= WINDOW * HOP
    expected = audio.log_mel_spectrogram(audio.pad_or_trim(samples) if fits else samples, n_mels).numpy()
    log_mel, _ = stream_of(samples, n_mels).window(0, expected.shape[1])
    assert np.abs(log_mel - expected).max() <= TOLERANCE


def openai_audio() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its dependencies, at import
        import whisper.audio
    return whisper.audio


@pytest.mark.parametrize("n_mels", [80, 128])
def test_mel_filters_are_those_of_transformers_and_openai_whisper(n_mels: int) -> None:
    from transformers import WhisperFeatureExtractor

    filters = mel_filter_bank(n_mels, 400, RATE)
    expected = WhisperFeatureExtractor(feature_size=n_mels).mel_filters.T
    assert filters.shape == (n_mels, 201)
    assert np.abs(filters - expected).max() <= 1e-8
    assert np.abs(filters - openai_audio().mel_filters("cpu", n_mels).numpy()).max() <= 1e-8


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_mel_filters_of_other_rates_are_those_of_transformers(rate: int) -> None:
    from transformers.audio_utils import mel_filter_bank as reference_filters

    expected = reference_filters(257, 40, 0.0, rate / 2, rate, norm="slaney", mel_scale="slaney").T
    assert np.abs(mel_filter_bank(40, 512, rate) - expected).max() <= 1e-7


@pytest.mark.parametrize("n_samples", [1, 159, 160, 161, 20_000, WINDOW * HOP])
def test_a_recording_of_one_window_counts_its_incomplete_last_frame(n_samples: int) -> None:
    stream = stream_of(noise(n_samples))
    assert stream.is_single_window
    n_frames = -(-n_samples // HOP)
    assert stream.total_frames == n_frames
    assert stream.window(0, WINDOW)[1] == n_frames
    assert not stream.ended(n_frames - 1)
    assert stream.ended(n_frames)
    assert stream.duration == n_samples / RATE


@pytest.mark.parametrize("n_samples", [WINDOW * HOP + 160, WINDOW * HOP + 319, 700_001])
def test_a_longer_recording_has_as_many_frames_as_transformers_counts(n_samples: int) -> None:
    stream = stream_of(noise(n_samples))
    assert not stream.is_single_window
    n_frames = reference(noise(n_samples), 80).shape[1]
    assert stream.total_frames == n_frames
    assert not stream.ended(n_frames - 1)
    assert stream.ended(n_frames)
    assert stream.duration == n_samples / RATE


def test_the_window_length_is_the_models() -> None:
    samples = voice(4)
    short = stream_of(samples, n_frames=500)
    assert short.is_single_window
    assert not stream_of(samples, n_frames=399).is_single_window
    assert stream_of(samples, n_frames=399).total_frames == 400
    whole_window = reference(samples, 80)
    assert np.abs(short.window(0, 500)[0] - whole_window[:, :500]).max() <= TOLERANCE


def test_beyond_the_end_of_a_long_recording_features_are_zero() -> None:
    stream = stream_of(SIGNALS["long voice"])
    log_mel, real_frames = stream.window(7_000, WINDOW)
    assert real_frames == 170
    assert np.abs(log_mel[:, :170]).min() > 0
    assert not log_mel[:, 170:].any()
    assert stream.window(7_170, WINDOW)[1] == 0
    assert stream.window(9_999, WINDOW)[1] == 0


def test_windows_are_those_that_transformers_cuts_for_long_recordings() -> None:
    import torch
    from transformers import WhisperForConditionalGeneration

    samples = SIGNALS["long voice"]
    features = torch.from_numpy(reference(samples, 80))[None]
    stream = stream_of(samples)
    for start in (0, 1_234, 4_600, 7_000):
        n_real = min(WINDOW, features.shape[2] - start)
        expected = WhisperForConditionalGeneration._get_input_segment(
            features, torch.tensor([start]), torch.tensor([n_real]), WINDOW, 1, [0]
        )
        log_mel, real_frames = stream.window(start, WINDOW)
        assert real_frames == n_real
        assert np.abs(log_mel - expected[0].numpy()).max() <= TOLERANCE


@hypothesis.given(
    n_samples=strategies.integers(1, 90_000),
    places=strategies.lists(strategies.integers(0, 90_000), max_size=30),
)
def test_features_do_not_depend_on_how_the_samples_were_cut(n_samples: int, places: list[int]) -> None:
    samples = noise(n_samples)
    pieces = np.split(samples, sorted(place % (n_samples + 1) for place in places))
    cut, uncut = pipe_of(iter(pieces), n_frames=200), pipe_of(iter([samples]), n_frames=200)
    assert np.array_equal(cut.window(0, 600)[0], uncut.window(0, 600)[0])
    assert cut.duration == uncut.duration == n_samples / RATE


@hypothesis.given(data=strategies.data())
def test_windows_are_slices_of_the_whole_recording(data: strategies.DataObject) -> None:
    n_frames = 200
    samples = noise(data.draw(strategies.integers(1, 200_000), "samples"))
    everything = stream_of(samples, n_frames=n_frames)
    length = max(n_frames, everything.total_frames or 0)
    features = everything.window(0, length + 4_000)[0]
    stream = stream_of(samples, n_frames=n_frames)
    start = 0
    for step in data.draw(strategies.lists(strategies.integers(0, 500), max_size=8), "steps"):
        start += step
        width = data.draw(strategies.integers(0, n_frames), "width")
        assert np.array_equal(stream.window(start, width)[0], features[:, start : start + width])


def test_windows_move_forward_only() -> None:
    stream = stream_of(noise(600_000))
    stream.window(100, WINDOW)
    stream.window(100, WINDOW)
    with pytest.raises(ValueError, match="frame 99 was forgotten"):
        stream.window(99, WINDOW)


def test_the_clamp_follows_the_loudest_moment_of_the_whole_recording_even_if_it_comes_last() -> None:
    samples = np.concatenate([noise(600_000, 1e-4), noise(100_000, 1.0)])
    expected = reference(samples, 80)
    assert np.abs(stream_of(samples).window(0, WINDOW)[0] - expected[:, :WINDOW]).max() <= TOLERANCE


def test_on_a_pipe_the_clamp_follows_what_was_read_so_far() -> None:
    quiet, loud = noise(600_000, 1e-4), noise(600_000, 1.0)
    from_pipe = pipe_of(iter([quiet, loud]))
    first = from_pipe.window(0, WINDOW)[0]
    assert np.abs(first - reference(quiet, 80)[:, :WINDOW]).max() <= TOLERANCE
    expected = reference(np.concatenate([quiet, loud]), 80)
    assert np.abs(first - expected[:, :WINDOW]).max() > 0.1
    assert np.abs(from_pipe.window(3_700, WINDOW)[0] - expected[:, 3_700:6_700]).max() <= TOLERANCE


def test_a_pipe_that_begins_with_its_loudest_moment_gives_what_the_file_gives() -> None:
    samples = np.concatenate([noise(10_000, 1.0), noise(900_000, 1e-3)])
    from_pipe, from_file = pipe_of(iter(np.split(samples, 13))), stream_of(samples)
    for start in (0, 2_900, 5_000):
        expected, n_real = from_file.window(start, WINDOW)
        log_mel, real_frames = from_pipe.window(start, WINDOW)
        assert np.array_equal(log_mel, expected)
        assert real_frames == n_real


def test_the_length_of_a_pipe_is_known_at_its_end() -> None:
    stream = pipe_of(iter([noise(16_000)] * 60))
    assert not stream.is_single_window
    assert stream.total_frames is None
    assert not stream.ended(5_999)
    assert stream.ended(6_000)
    assert stream.total_frames == 6_000
    assert stream.duration == 60.0


def test_a_pipe_is_read_no_further_than_its_windows_need() -> None:
    n_read = 0

    def endless() -> Iterator[NDArray[np.float32]]:
        nonlocal n_read
        while True:
            n_read += 16_000
            yield noise(16_000)

    stream = pipe_of(endless())
    stream.window(0, WINDOW)
    assert n_read <= 36 * RATE
    stream.window(2_000, WINDOW)
    assert n_read <= 56 * RATE


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_memory_does_not_grow_with_the_length_of_a_recording(kind: str, tmp_path: Path) -> None:
    def peak(minutes: int) -> int:
        second = noise(16_000)
        tracemalloc.start()
        if kind == "pipe":
            stream = pipe_of(second for _ in range(60 * minutes))
        else:
            path = tmp_path / f"{minutes}.wav"
            with soundfile.SoundFile(path, "w", RATE, 1) as file:
                for _ in range(60 * minutes):
                    file.write(second)
            stream = LogMelStream(open_audio(path), AudioSettings(80, WINDOW))
        start = 0
        while not stream.ended(start):
            stream.window(start, WINDOW)
            start += WINDOW
        assert start == 6_000 * minutes
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(2)  # whatever is allocated once
    assert peak(60) <= peak(4) + 1_000_000  # an hour of samples alone would take 230 MB


def test_audio_at_another_rate_than_the_models_is_refused() -> None:
    with pytest.raises(ValueError, match="8000 Hz"):
        LogMelStream(open_audio(noise(8_000), target_rate=8_000), AudioSettings(80, WINDOW))
