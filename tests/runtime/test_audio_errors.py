"""Bad recordings: one line that names the file, what is wrong with it and what to do."""

import contextlib
import io
import os
import re
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edgewhisper.errors import AudioError, UsageError
from edgewhisper.runtime.audio import RawFormat, open_audio

RATE = 16_000
SOUND = np.random.default_rng(0).uniform(-0.5, 0.5, 5 * RATE).astype(np.float32)


def written(samples: np.typing.NDArray[np.float32], kind: str, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, RATE, format=kind, subtype=subtype)
    return buffer.getvalue()


def replaced(position: float, value: float) -> bytes:
    samples = np.stack([SOUND, SOUND], axis=1)
    samples[round(position * RATE), 1] = value
    return written(samples, "WAV", "FLOAT")


def wav(format_chunk: bytes) -> bytes:
    chunks = (
        b"fmt "
        + struct.pack("<I", len(format_chunk))
        + format_chunk
        + b"data"
        + struct.pack("<I", 4)
        + bytes(4)
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


BAD_FILES: list[tuple[str, Callable[[], bytes], str]] = [
    ("empty.wav", lambda: b"", r"empty \(0 bytes\)"),
    ("no_samples.wav", lambda: written(SOUND[:0], "WAV"), "holds no samples"),
    ("header.flac", lambda: written(SOUND, "FLAC")[:60], "cannot be"),
    ("header.ogg", lambda: written(SOUND, "OGG")[:60], "cannot be"),
    ("cut.flac", lambda: written(SOUND, "FLAC")[:-20_000], r"damaged or cut off after \d+\.\d s"),
    ("text.txt", lambda: b"minutes of the meeting\n" * 99, "cannot be"),
    ("text.wav", lambda: b"minutes of the meeting\n" * 99, "cannot be"),
    ("noise.mp3", lambda: np.random.default_rng(3).bytes(9_999), "cannot be|damaged"),
    ("cut.wav", lambda: written(SOUND, "WAV")[:80_044], r"cut off after 2\.5 of 5\.0 s; copy it again"),
    ("cut_mu_law.wav", lambda: written(SOUND, "WAV", "ULAW")[:40_000], r"cut off after 2\.5 of 5\.0 s"),
    ("cut_rf64.wav", lambda: written(SOUND, "RF64")[:80_104], r"cut off after 2\.5 of 5\.0 s"),
    ("headerless.raw", lambda: bytes(999), "give it, e.g. --raw s16le:16000:1"),
    ("nan.wav", lambda: replaced(2.5, np.nan), r"the sample at 2\.500 s is nan"),
    ("first_nan.wav", lambda: replaced(0, np.nan), r"the sample at 0\.000 s is nan"),
    ("infinite.wav", lambda: replaced(4.999, -np.inf), r"the sample at 4\.999 s is -inf"),
    ("huge.wav", lambda: replaced(1, 1e30), r"the sample at 1\.000 s is 1e\+30"),
]


def message_of(source: object, **options: object) -> str:
    with pytest.raises(AudioError) as caught, open_audio(source, **options) as audio:  # type: ignore[arg-type]
        list(audio)
    assert caught.value.exit_code == 1
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("name", "make", "expected"), BAD_FILES, ids=[name for name, _, _ in BAD_FILES])
def test_a_bad_file_is_named_in_one_line(
    tmp_path: Path, name: str, make: Callable[[], bytes], expected: str
) -> None:
    path = tmp_path / name
    path.write_bytes(make())
    message = message_of(path)
    assert message.startswith(f"{path}: ")
    assert re.search(expected, message)
    with path.open("rb") as file:
        assert message_of(file) == message


def test_a_missing_file_is_named() -> None:
    assert message_of("no/such/talk.wav").startswith("no/such/talk.wav: no such file")


@pytest.mark.parametrize(("name", "shown"), [("", "''"), ("no/such/samples.raw", "no/such/samples.raw")])
def test_a_name_without_a_file_is_said_to_have_none(name: str, shown: str) -> None:
    assert message_of(name) == f"{shown}: no such file"


@pytest.mark.parametrize("source", [None, 5, [0.0, 0.1], b"talk.wav", io.StringIO("talk")])
def test_what_is_no_audio_at_all_is_told_what_is(source: object) -> None:
    kind = type(source).__name__
    assert message_of(source) == f"audio of type {kind}: give a path, a binary file object or a NumPy array"


def test_a_closed_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    path.write_bytes(written(SOUND, "WAV"))
    with path.open("rb") as file:
        pass
    assert message_of(file) == f"{path}: is closed; open it again"


def test_a_folder_is_not_a_recording(tmp_path: Path) -> None:
    assert "is a folder" in message_of(tmp_path)


def test_an_impossible_file_name_is_not_a_traceback() -> None:
    assert "not a file name" in message_of("a\0b")


def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = tmp_path / "private.wav"
    path.write_bytes(written(SOUND, "WAV"))
    path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)  # root may read everything
    try:
        assert "private.wav: cannot be read (Permission denied)" in message_of(path)
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("name", ["talk.m4a", "film.mp4", "call.amr"])
def test_without_ffmpeg_one_line_says_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / name
    path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(99))
    assert f"{name}: cannot be read without ffmpeg" in message_of(path)
    assert "install ffmpeg" in message_of(path)


def test_the_last_line_of_ffmpeg_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho 'a hint' >&2\necho 'moov atom not found' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    path = tmp_path / "talk.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(99))
    assert "talk.m4a: cannot be decoded (ffmpeg: moov atom not found)" in message_of(path)


@pytest.mark.parametrize(("data", "expected"), [
    (b"", r"audio stream: empty"),
    (b"RIFF\xff\xff\xff\xffWAVE", "header is cut off"),
    (b"RIFF\xff\xff\xff\xffWAVEdata\0\0\0\0", "does not describe its samples"),
    (b"RIFF\xff\xff\xff\xffWAVEjunk\xff\xff\xff\x7f" + bytes(2_000_000), "header is damaged"),
    (wav(b"\x01\x00\x01\x00"), "header is damaged"),
    (wav(struct.pack("<HHIIHH", 1, 0, RATE, 0, 0, 16)), "0 channels"),
    (wav(struct.pack("<HHIIHH", 1, 1, 0, 0, 0, 16)), "at 0 Hz"),
    (wav(struct.pack("<HHIIHH", 1, 1, 3, 6, 2, 16)), "a sample rate of 3 Hz"),
    (wav(struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16))[:44], "holds no samples"),
    (written(SOUND, "WAV")[:80_044], "cut off after 2.5 of 5.0 s"),
])  # fmt: skip
def test_a_bad_wav_stream_is_one_line(data: bytes, expected: str) -> None:
    read_end, write_end = os.pipe()

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), open(write_end, "wb") as file:
            file.write(data)

    writer = threading.Thread(target=write)
    writer.start()
    with open(read_end, "rb") as pipe:
        assert expected in message_of(pipe)
    writer.join()


@pytest.mark.parametrize(("array", "expected"), [
    (np.zeros(0, np.float32), "holds no samples"),
    (np.zeros((9, 0), np.float32), "holds no samples"),
    (np.zeros((2, 9, 9), np.float32), "3 dimensions"),
    (np.zeros((1, 9), np.float32), "more channels than samples"),
    (np.zeros(9, np.uint16), "array of uint16"),
    (np.zeros(9, bool), "array of bool"),
    (np.zeros(9, complex), "array of complex128"),
    (np.array([0.0, 1e300]), "is inf"),
    (np.array([0.0, np.nan]), "is nan"),
])  # fmt: skip
def test_a_bad_array_is_described(array: np.typing.NDArray[np.generic], expected: str) -> None:
    assert expected in message_of(array)


@pytest.mark.parametrize("rate", [-1, 0, 999, 2_000_000])
def test_a_sample_rate_that_no_recorder_has_is_refused(rate: int) -> None:
    assert f"a sample rate of {rate} Hz" in message_of(SOUND, sample_rate=rate)


def test_a_file_that_disappears_before_it_is_reopened_is_named(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    path.write_bytes(written(SOUND, "WAV"))
    with open_audio(path) as audio:
        path.unlink()
        with pytest.raises(AudioError, match=r"talk\.wav: no such file"):
            audio.reopen()


@pytest.mark.parametrize(("options", "expected"), [
    ({"sample_rate": 0}, "sample rate 0"),
    ({"sample_rate": RATE, "channels": 0}, "0 channels"),
    ({"sample_rate": RATE, "encoding": "mp3"}, "unknown encoding 'mp3'"),
])  # fmt: skip
def test_a_wrong_raw_format_is_a_usage_error(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        RawFormat(**options)
