"""What ffmpeg decodes: the sound that went in, and no process that stays."""

import io
import os
import shutil
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgewhisper.errors import AudioError
from edgewhisper.runtime.audio import open_audio
from tests.sounds import RATE, encoded, pipe, samples_of, sine

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def fake_ffmpeg(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


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
