"""Sound from pipes, and recordings that are played."""

import io
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import soundfile

from edgewhisper.errors import AudioError, UsageError
from edgewhisper.runtime.listening.sources import RawPipe, Recorded, Source
from edgewhisper.runtime.pcm import RawFormat
from edgewhisper.runtime.protocols import Floats
from tests.sounds import RATE, sine


def samples_of(source: Source) -> Floats:
    return np.concatenate([block.samples for block in source.blocks(threading.Event())])


@pytest.fixture
def piped() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as out, os.fdopen(writer, "wb") as into:
        yield out, into


def write_slowly(file: BinaryIO, data: bytes, size: int) -> threading.Thread:
    def write() -> None:
        with file:
            for start in range(0, len(data), size):
                file.write(data[start : start + size])
                file.flush()

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def test_a_pipe_may_cut_samples_anywhere(piped: tuple[BinaryIO, BinaryIO]) -> None:
    stereo = np.stack([sine(RATE, 0.3), -sine(RATE, 0.3) / 3], axis=1)
    data = (stereo * 32767).astype("<i2").tobytes()
    thread = write_slowly(piped[1], data + b"\0", 333)
    found = samples_of(RawPipe(piped[0], RawFormat(RATE, 2), "pipe"))
    thread.join()
    assert np.allclose(found, stereo.mean(axis=1), atol=1e-4)


def test_another_rate_is_resampled(tmp_path: Path) -> None:
    path = tmp_path / "sine.raw"
    path.write_bytes(sine(48_000).astype("<f4").tobytes())
    with path.open("rb") as file:
        found = samples_of(RawPipe(file, RawFormat(48_000, 1, "f32le"), "file"))
    assert abs(len(found) - 2 * RATE) < 10
    assert np.allclose(found[1000:30_000], sine(RATE)[1000:30_000], atol=1e-3)


def test_a_pipe_that_says_nothing_can_be_stopped(piped: tuple[BinaryIO, BinaryIO]) -> None:
    stopped = threading.Event()
    source = RawPipe(piped[0], RawFormat(RATE), "pipe")
    thread = threading.Thread(target=lambda: list(source.blocks(stopped)))
    thread.start()
    stopped.set()
    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("data", "raw", "message"),
    [
        (b"RIFF....WAVEfmt ", RawFormat(RATE), "pipe: is WAV, and samples without a header are listened to"),
        (
            np.array([0, np.nan], "<f4").tobytes(),
            RawFormat(RATE, 1, "f32le"),
            "pipe: the sample at 0.000 s is nan",
        ),
    ],
)
def test_what_is_no_sound_is_one_line(
    data: bytes, raw: RawFormat, message: str, piped: tuple[BinaryIO, BinaryIO]
) -> None:
    write_slowly(piped[1], data, 100).join()
    with pytest.raises(AudioError, match=message):
        samples_of(RawPipe(piped[0], raw, "pipe"))


@pytest.mark.parametrize("rate", [1, 999, 2_000_000])
def test_a_rate_that_no_recording_has_is_one_line(rate: int, piped: tuple[BinaryIO, BinaryIO]) -> None:
    with pytest.raises(AudioError, match=f"pipe: a sample rate of {rate} Hz; give 1000 to 1000000 Hz"):
        RawPipe(piped[0], RawFormat(rate), "pipe")


def test_what_has_no_descriptor_cannot_be_listened_to() -> None:
    with pytest.raises(AudioError, match="bytes: is no file or pipe"):
        RawPipe(io.BytesIO(b"\0\0"), RawFormat(RATE), "bytes")


def test_a_recording_is_played_in_real_time(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sine(8_000, 0.5), 8_000)
    source = Recorded(tmp_path / "a.wav", speed=2)
    started = time.monotonic()
    found, times = [], []
    for block in source.blocks(threading.Event()):
        found.append(block.samples)
        times.append(time.monotonic() - started)
    played = np.cumsum([len(samples) for samples in found]) / RATE / 2
    assert played[-1] == pytest.approx(0.25, abs=0.01)
    assert (np.array(times) >= played - 0.001).all(), "nothing is heard before it was played"
    assert not source.can_wait


def test_a_recording_can_be_played_at_once(speech: Path) -> None:
    source = Recorded(speech, speed=float("inf"))
    assert np.array_equal(samples_of(source), soundfile.read(speech, dtype="float32")[0])
    assert source.can_wait


def test_a_recording_that_is_played_can_be_stopped(speech: Path) -> None:
    stopped, heard = threading.Event(), []
    for block in Recorded(speech).blocks(stopped):
        heard.append(block)
        stopped.set()
    assert len(heard) == 1


def test_a_recording_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"none\.wav: no such file"):
        samples_of(Recorded(tmp_path / "none.wav"))
    for speed in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="speed"):
            Recorded(tmp_path / "none.wav", speed)
