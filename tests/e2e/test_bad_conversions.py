"""Builds in other precisions that cannot be made: one line, the right exit code, nothing written."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import Command

Folder = Callable[[Path], Path]


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def missing(folder: Path) -> Path:
    return folder


def a_file(folder: Path) -> Path:
    folder.write_text("speech")
    return folder


def without_audio(folder: Path) -> Path:
    (empty(folder) / "notes.md").write_text("nothing to hear")
    return folder


def silent(folder: Path) -> Path:
    soundfile.write(empty(folder) / "silence.wav", np.zeros(16_000), 16_000)
    return folder


def damaged(folder: Path) -> Path:
    (empty(folder) / "speech.wav").write_bytes(b"To whom it may concern\n" * 40)
    return folder


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (missing, 2, "no such folder"),
        (a_file, 2, "is a file, not a folder"),
        (empty, 2, "holds no recording"),
        (without_audio, 2, "holds no recording"),
        (silent, 1, "the recordings are silent"),
        (damaged, 1, "speech.wav"),
    ],
)
def test_calibration_recordings_that_cannot_be_used_are_refused(
    make: Folder, code: int, words: str, command: Command, demo_artifact: Path, tmp_path: Path
) -> None:
    folder = make(tmp_path / "recordings")
    out = tmp_path / "out"
    outcome = command("quantize", demo_artifact, "-o", out, "--precision", "int8", "--calibration", folder)
    outcome.assert_refused(code, str(folder), words)
    assert not out.exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_evaluation_set_without_transcripts_is_refused(
    command: Command, demo_artifact: Path, speech: Path, tmp_path: Path
) -> None:
    folder = empty(tmp_path / "recordings")
    shutil.copy(speech, folder)
    options = ("--precision", "int8-weight", "--gate", "text", "--evaluation", folder)
    outcome = command("quantize", demo_artifact, "-o", tmp_path / "out", *options)
    outcome.assert_refused(2, speech.name, "there is no transcript")
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_quantized_is_not_quantized_again(
    command: Command, demo_artifact: Path, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    options = ("--precision", "int8-weight", "--gate", "off")
    assert command("quantize", demo_artifact, "-o", small, *options).code == 0
    outcome = command("quantize", small, "-o", tmp_path / "again", *options)
    outcome.assert_refused(2, str(small), "quantized already", "int8-weight")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--precision", "int5"], ["int5"]),
        (["--precision", "int8", "--target", "cuda"], ["cuda", "fp16"]),
        (["--encoder-precision", "fp16"], ["both graphs"]),
        (["--block-size", "48"], ["48"]),
        (["--max-ram", "30M"], ["30 MB", "take a smaller model"]),
        (["--max-ram", "lots"], ["lots", "256M"]),
        (["--winograd", "F5"], ["F5"]),
        (["--winograd-table", "nowhere.json"], ["nowhere.json", "cannot be read"]),
        (["--precision", "int8", "--block-size", "16"], ["--block-size", "int4"]),
        (["--ops", "portable", "--precision", "int8"], ["portable", "fp32"]),
        (["--prune-heads", "1.5"], ["prune-heads", "1.5"]),
        (["--prune-vocabulary", "everything"], ["everything", "languages:"]),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    options: list[str], words: list[str], command: Command, tmp_path: Path
) -> None:
    command("build", "demo", "-o", tmp_path / "out", "--no-parity", *options).assert_refused(2, *words)
    assert not (tmp_path / "out").exists()
