"""Folders, and what is no checkpoint at all: one clear line each."""

import errno
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models.checkpoint_files import SMALL, error_of, write_small_folder

Change = Callable[[Path], None]


def edit_json(name: str, **changes: object) -> Change:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def edit_tensors(edit: Callable[[dict[str, Any]], object]) -> Change:
    def change(folder: Path) -> None:
        from safetensors.numpy import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        edit(tensors)
        save_file(tensors, folder / "model.safetensors")

    return change


def write(name: str, data: bytes) -> Change:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return change


def remove(*names: str) -> Change:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def shorten(name: str, size: int) -> Change:
    def change(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:size])

    return change


def only_a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def shard_outside(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"model.encoder.conv1.weight": "../secret.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def header(entry: object) -> bytes:
    text = json.dumps({"model.encoder.conv1.weight": entry}).encode()
    return struct.pack("<Q", len(text)) + text


FC1 = "model.decoder.layers.0.fc1.weight"
WAV2VEC2 = {"model_type": "wav2vec2", "architectures": ["Wav2Vec2ForCTC"]}
BAD_FOLDERS: list[tuple[str, Change, str]] = [
    ("no config", remove("config.json"), "config.json: missing"),
    ("config not JSON", write("config.json", b"{"), "config.json: damaged, not JSON"),
    ("config not an object", write("config.json", b"[]"), "config.json: must hold a JSON object"),
    ("wav2vec2", edit_json("config.json", **WAV2VEC2), "not a Whisper model (Wav2Vec2ForCTC)"),
    (
        "no architecture",
        edit_json("config.json", model_type=None, architectures=None),
        "no architecture named",
    ),
    (
        "width of text",
        edit_json("config.json", d_model="64"),
        "'d_model' must be a positive number, not '64'",
    ),
    (
        "width and heads",
        edit_json("config.json", encoder_attention_heads=3),
        "not a multiple of the number of attention",
    ),
    ("relu", edit_json("config.json", activation_function="relu"), "'activation_function' must be gelu"),
    (
        "other width",
        edit_json("config.json", d_model=128),
        "has shape [64, 80, 3], the configuration says [128, 80, 3]",
    ),
    (
        "missing tensor",
        edit_tensors(lambda tensors: tensors.pop(FC1)),
        "'decoder.layers.0.fc1.weight' is missing",
    ),
    (
        "wrong shape",
        edit_tensors(lambda tensors: tensors.update({FC1: np.zeros((2, 3), np.float32)})),
        "'decoder.layers.0.fc1.weight' has shape [2, 3], the configuration says [256, 64]",
    ),
    (
        "integers",
        edit_tensors(lambda tensors: tensors.update({FC1: np.zeros((256, 64), np.int32)})),
        "'decoder.layers.0.fc1.weight' is missing",
    ),
    (
        "untied head",
        edit_tensors(lambda tensors: tensors.update({"proj_out.weight": np.zeros((8, 64), np.float32)})),
        "'proj_out.weight' differs from 'decoder.embed_tokens.weight'",
    ),
    ("no weights", remove("model.safetensors"), "no model.safetensors"),
    ("only a pickle", only_a_pickle, "convert it with transformers"),
    ("empty weights", write("model.safetensors", b""), "damaged safetensors file, it is empty"),
    ("five bytes", write("model.safetensors", b"12345"), "damaged safetensors file, it is cut short"),
    ("no safetensors", write("model.safetensors", b"\xff" * 100), "it is not a safetensors file"),
    ("cut header", shorten("model.safetensors", 500), "damaged safetensors file, it is cut short"),
    ("cut tensors", shorten("model.safetensors", 200_000), "it ends inside tensor 'model."),
    (
        "header of numbers",
        write("model.safetensors", struct.pack("<Q", 2) + b"12"),
        "header is not a JSON object",
    ),
    (
        "contradicting header",
        write("model.safetensors", header({"dtype": "F32", "shape": [64, 80, 3], "data_offsets": [0, 4]})),
        "contradicts itself",
    ),
    (
        "incomplete header",
        write("model.safetensors", header({"dtype": "F32", "shape": None, "data_offsets": [0, 4]})),
        "is incomplete",
    ),
    ("shard outside", shard_outside, "not a plain file name"),
    ("no tokenizer", remove("tokenizer.json", "vocab.json"), "no tokenizer.json, nor vocab.json"),
    ("tokenizer not JSON", write("tokenizer.json", b"{"), "tokenizer.json: not a byte-level BPE tokenizer"),
    (
        "token ids",
        edit_json("generation_config.json", suppress_tokens=[10**6]),
        "'suppress_tokens' must be a list of token ids below 1878, not [1000000]",
    ),
    (
        "token text",
        edit_json("generation_config.json", eos_token_id="end"),
        "'eos_token_id' must be a token id",
    ),
    (
        "two ends",
        edit_json("generation_config.json", eos_token_id=[1, 2]),
        "'eos_token_id' must be a token id",
    ),
    ("true id", edit_json("generation_config.json", prev_sot_token_id=True), "'prev_sot_token_id' must be"),
    ("languages", edit_json("generation_config.json", lang_to_id=["en"]), "'lang_to_id' must name token ids"),
    (
        "task text",
        edit_json("generation_config.json", task_to_id={"transcribe": "x"}),
        "'task_to_id' must name token ids",
    ),
    (
        "initial timestamp",
        edit_json("generation_config.json", max_initial_timestamp_index="50"),
        "'max_initial_timestamp_index' must be a number from 0 on, not '50'",
    ),
    (
        "multilingual",
        edit_json("generation_config.json", is_multilingual="false"),
        "'is_multilingual' must be true or false",
    ),
    (
        "alignment heads",
        edit_json("generation_config.json", alignment_heads=[[0, "1"]]),
        "'alignment_heads' must be a list of pairs",
    ),
    (
        "first suppressed",
        edit_json("generation_config.json", begin_suppress_tokens=[-1]),
        "'begin_suppress_tokens' must be a list of token ids",
    ),
    (
        "last timestamp",
        edit_json("generation_config.json", no_timestamps_token_id=SMALL.vocab_size - 1),
        "'no_timestamps_token_id' must have the timestamps after it",
    ),
    (
        "old checkpoint",
        lambda folder: (
            remove("generation_config.json")(folder),
            edit_json("config.json", eos_token_id="end")(folder),
        )[0],
        "config.json: 'eos_token_id' must be a token id",
    ),
    *(
        (f"{value} {key}", edit_json("config.json", **{key: value}), f"'{key}' is more than")
        for key, value in (("encoder_layers", 10**9), ("decoder_layers", 257), ("vocab_size", 10**400))
    ),
    ("sampling rate", edit_json("preprocessor_config.json", sampling_rate=8000), "'sampling_rate' is 8000"),
    (
        "mel bins",
        edit_json("preprocessor_config.json", feature_size=128),
        "'feature_size' is 128, the model needs 80",
    ),
]


@pytest.mark.parametrize(
    ("change", "message"), [bad[1:] for bad in BAD_FOLDERS], ids=[bad[0] for bad in BAD_FOLDERS]
)
def test_damaged_folders_are_named(tmp_path: Path, change: Change, message: str) -> None:
    folder = write_small_folder(tmp_path / "small")
    change(folder)
    found = error_of(folder)
    assert message in found
    assert str(folder) in found


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere/at/all", "no such folder or file"),
        ("missing.pt", "no such folder or file"),
        ("tiny.em", "did you mean tiny.en"),
        ("http://example.org/model", "no such folder or file"),
    ],
)
def test_sources_that_are_nothing(source: str, message: str) -> None:
    assert message in error_of(source)


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    path.write_bytes(b"RIFF")
    assert "not a checkpoint" in error_of(path)
    weights = write_small_folder(tmp_path / "small") / "model.safetensors"
    assert "name the folder that holds it" in error_of(weights)


def test_empty_folders_are_refused(tmp_path: Path) -> None:
    assert "config.json: missing" in error_of(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_files_without_permission_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = write_small_folder(tmp_path / "small")
    open_file = io.open

    def refuse(file: Any, *args: Any, **options: Any) -> Any:  # a real refusal does not reach the superuser
        if Path(file).name == name:
            raise PermissionError(errno.EACCES, "Permission denied", str(file))
        return open_file(file, *args, **options)

    monkeypatch.setattr("io.open", refuse)
    assert error_of(folder) == f"{folder / name}: cannot be read (Permission denied)"
