"""Options and files that cannot be used: one line, the right exit code, nothing half-written."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import Command

EDGEWHISPER = Path(sys.executable).with_name("edgewhisper")


def write_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def write_wav(path: Path, samples: object, rate: int = 16_000, subtype: str | None = None) -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


@pytest.fixture
def bad_recordings(tmp_path: Path, speech: Path) -> dict[str, Path]:
    """What is not a recording, by what is wrong with it."""
    flac = speech.read_bytes()
    whole = write_wav(tmp_path / "whole.wav", np.zeros(16_000))
    (tmp_path / "folder.wav").mkdir()
    return {
        "missing": tmp_path / "missing.wav",
        "empty": write_bytes(tmp_path / "empty.wav", b""),
        "text": write_bytes(tmp_path / "text.wav", b"To whom it may concern\n" * 40),
        "folder": tmp_path / "folder.wav",
        "no samples": write_wav(tmp_path / "no-samples.wav", np.zeros(0)),
        "cut in the header": write_bytes(tmp_path / "header.flac", flac[:20]),
        "cut off": write_bytes(tmp_path / "cut.wav", whole.read_bytes()[:20_000]),
        "raw without a format": write_bytes(tmp_path / "samples.raw", bytes(32_000)),
        "not a number": write_wav(tmp_path / "nan.wav", np.full(16_000, np.nan), subtype="FLOAT"),
        "infinite": write_wav(tmp_path / "inf.wav", np.full(16_000, np.inf), subtype="FLOAT"),
    }


@pytest.mark.parametrize(
    "what",
    [
        "missing",
        "empty",
        "text",
        "folder",
        "no samples",
        "cut in the header",
        "cut off",
        "raw without a format",
        "not a number",
        "infinite",
    ],
)
def test_what_is_not_a_recording_is_refused(
    what: str, bad_recordings: dict[str, Path], command: Command, demo_artifact: Path, tmp_path: Path
) -> None:
    recording = bad_recordings[what]
    target = tmp_path / "text"
    command("transcribe", recording, "-a", demo_artifact, "-o", target).assert_refused(1, recording.name)
    assert not target.exists() or not list(target.iterdir())


def test_a_recording_cut_in_the_middle_leaves_no_transcript(
    command: Command, demo_artifact: Path, speech: Path, tmp_path: Path
) -> None:
    flac = speech.read_bytes()
    cut = write_bytes(tmp_path / "cut.flac", flac[: len(flac) // 2])
    outcome = command("transcribe", cut, "-a", demo_artifact, "-o", tmp_path / "text")
    outcome.assert_refused(1, "cut.flac")
    assert not list(tmp_path.rglob("*.t*"))


@pytest.mark.parametrize(
    ("rate", "channels", "subtype"),
    [
        (8_000, 1, "PCM_16"),
        (44_100, 2, "PCM_24"),
        (16_000, 8, "FLOAT"),
        (48_000, 1, "DOUBLE"),
        (16_000, 1, "PCM_U8"),
    ],
)
def test_any_rate_channel_count_and_sample_format_is_read(
    rate: int, channels: int, subtype: str, command: Command, demo_artifact: Path, tmp_path: Path
) -> None:
    tone = 0.2 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    recording = write_wav(tmp_path / "tone.wav", np.repeat(tone[:, None], channels, axis=1), rate, subtype)
    outcome = command("transcribe", recording, "-a", demo_artifact)
    assert outcome.code == 0
    assert "1.0 s of audio" in outcome.err


def test_a_clipped_recording_is_transcribed(
    command: Command, demo_artifact: Path, speech: Path, tmp_path: Path
) -> None:
    samples, rate = soundfile.read(speech)
    outcome = command(
        "transcribe",
        write_wav(tmp_path / "loud.wav", np.clip(20 * samples, -1, 1), rate),
        "-a",
        demo_artifact,
    )
    assert outcome.code == 0


def test_silence_gives_no_text(command: Command, demo_artifact: Path, tmp_path: Path) -> None:
    outcome = command(
        "transcribe", write_wav(tmp_path / "silence.wav", np.zeros(48_000)), "-a", demo_artifact
    )
    assert (outcome.code, outcome.out) == (0, "")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--language", "klingon"], ["klingon"]),
        (["--language", ""], ["language"]),
        (["--provider", "cuda"], ["cuda"]),
        (["--provider", "coreml"], ["coreml"]),
    ],
)
def test_what_this_model_or_machine_lacks_is_refused(
    options: list[str], words: list[str], command: Command, demo_artifact: Path, speech: Path
) -> None:
    expected = 2 if "--language" in options else 1
    command("transcribe", speech, "-a", demo_artifact, *options).assert_refused(expected, *words)


def test_a_file_that_may_not_be_read_is_refused(demo_artifact: Path, speech: Path, tmp_path: Path) -> None:
    secret = Path(shutil.copy(speech, tmp_path / "secret.flac"))
    secret.chmod(0)
    run = [str(EDGEWHISPER), "transcribe", str(secret), "-a", str(demo_artifact)]
    if os.geteuid() == 0:  # root reads everything, unless it gives that up
        if shutil.which("setpriv") is None:
            pytest.skip("root may read every file, and setpriv is not installed")
        run = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *run]
    outcome = subprocess.run(run, capture_output=True, text=True)
    assert (outcome.returncode, outcome.stdout) == (1, "")
    assert outcome.stderr.count("\n") == 1
    assert "secret.flac" in outcome.stderr
    assert "Permission denied" in outcome.stderr
