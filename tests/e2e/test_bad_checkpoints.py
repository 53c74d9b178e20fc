"""Checkpoints that cannot be built: one line, exit code 1, and no artifact."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.conftest import Command


def edit_tensors(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def edit_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def remove_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "vocab.json"):
        (folder / name).unlink()


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


FC1 = "model.encoder.layers.0.fc1.weight"
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a missing tensor": (lambda folder: edit_tensors(folder, lambda t: t.pop(FC1)), "encoder.layers.0.fc1.weight"),
    "a wrong shape": (lambda folder: edit_tensors(folder, lambda t: t.update({FC1: np.zeros((3, 5), np.float16)})), "[3, 5]"),
    "another architecture": (lambda folder: edit_config(folder, model_type="wav2vec2", architectures=["Wav2Vec2ForCTC"]), "Wav2Vec2ForCTC"),
    "cut weights": (lambda folder: cut(folder / "model.safetensors"), "model.safetensors"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "safetensors"),
    "no configuration": (lambda folder: (folder / "config.json").unlink(), "config.json"),
    "a damaged configuration": (lambda folder: cut(folder / "config.json"), "config.json"),
    "no tokenizer": (remove_tokenizer, "tokenizer"),
    "nothing": (empty, "config.json"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_refused(
    damage: str, command: Command, demo_checkpoint: Path, tmp_path: Path
) -> None:
    spoil, words = DAMAGES[damage]
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(
        demo_checkpoint,
        checkpoint,
        ignore=lambda folder, names: [n for n in names if (Path(folder) / n).is_dir()],
    )
    spoil(checkpoint)
    command("build", checkpoint, "-o", tmp_path / "artifact").assert_refused(1, words)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tiny.english", "tiny.en"),
        ("no/such/folder", "no/such/folder"),
        ("./tiny.en", "./tiny.en"),
        ("openai/whisper-tiny.en", "network"),
    ],
)
def test_what_names_no_checkpoint_is_refused(
    name: str, words: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command("build", name, "-o", "artifact").assert_refused(1, words)
    assert not list(tmp_path.iterdir())


def test_a_download_without_network_says_so(command: Command) -> None:
    command("download", "tiny.en").assert_refused(1, "openai/whisper-tiny.en", "network")


@pytest.mark.parametrize("name", ["model.pt", "ggml-model.bin", "model.safetensors", "model.onnx"])
def test_a_file_that_is_no_checkpoint_is_refused(name: str, command: Command, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"not a checkpoint at all\n" * 50)
    command("build", tmp_path / name, "-o", tmp_path / "artifact").assert_refused(1, name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_code_in_a_pickle_is_not_executed(command: Command, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"dims": {}, "model_state_dict": Touch(str(tmp_path / "executed"))}, tmp_path / "model.pt")
    command("build", tmp_path / "model.pt", "-o", tmp_path / "artifact").assert_refused(1, "model.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


class Touch:
    """Pickled, it makes a file when it is loaded carelessly."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def test_a_random_checkpoint_of_an_unknown_model_is_refused(command: Command, tmp_path: Path) -> None:
    command("random", "huge.en", "-o", tmp_path / "checkpoint").assert_refused(1, "huge.en")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_no_artifact_is_not_replaced(command: Command, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("three years of work")
    command("build", "demo", "-o", tmp_path).assert_refused(2, str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
