"""Checkpoints that cannot be read: one clear line each, and nothing in them is run."""

import errno
import io
import json
import pickle
import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewhisper.errors import CheckpointError, MissingDependencyError
from edgewhisper.models.openai_names import openai_name
from edgewhisper.models.reader import read_checkpoint
from tests.models.checkpoint_files import SMALL, read_small, write_ggml, write_pt, write_small_folder

Change = Callable[[Path], None]


def error_of(source: str | Path) -> str:
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(source)
    message = str(error.value)
    assert "\n" not in message
    return message


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


class RunsWhenUnpickled:
    """A pickle that would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.write_text, (self.path, "it ran")


@pytest.mark.parametrize("save", ["torch", "torch before 1.6", "pickle"])
def test_pickles_with_other_objects_are_refused_and_not_run(tmp_path: Path, save: str) -> None:
    import torch

    trace, path = tmp_path / "trace", tmp_path / "model.pt"
    content = {"dims": RunsWhenUnpickled(trace), "model_state_dict": {}}
    if save == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=save == "torch")
    assert str(path) in error_of(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weights": 1}, "not an OpenAI Whisper checkpoint"),
        ({"dims": {"n_mels": "80"}, "model_state_dict": {}}, "not an OpenAI Whisper checkpoint"),
        ({"dims": {"n_mels": 80}, "model_state_dict": {}}, "its 'dims' are not those of Whisper"),
        ([1, 2], "not an OpenAI Whisper checkpoint"),
    ],
)
def test_pt_of_other_models_is_refused(tmp_path: Path, content: object, message: str) -> None:
    import torch

    torch.save(content, tmp_path / "model.pt")
    assert message in error_of(tmp_path / "model.pt")


@pytest.fixture(scope="module")
def pt_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pt")
    small = read_small(folder / "small")
    state = {openai_name(name): array for name, array in small.tensors.items()}
    return write_pt(folder / "small.pt", SMALL, state)


@pytest.fixture(scope="module")
def ggml_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ggml")
    small = read_small(folder / "small")
    state = {openai_name(name): array for name, array in small.tensors.items()}
    return write_ggml(
        folder / "ggml.bin", SMALL, state, small.vocabulary.tokens[: small.token_ids.end_of_text]
    )


@pytest.mark.parametrize("size", [0, 10, 10_000])
def test_truncated_pt_is_refused(pt_file: Path, tmp_path: Path, size: int) -> None:
    (tmp_path / "cut.pt").write_bytes(pt_file.read_bytes()[:size])
    assert str(tmp_path / "cut.pt") in error_of(tmp_path / "cut.pt")


def test_pt_with_a_billion_layers_is_refused(tmp_path: Path) -> None:
    path = write_pt(tmp_path / "deep.pt", replace(SMALL, decoder_layers=10**9), {})
    assert "not those of a Whisper model" in error_of(path)


def test_pt_without_a_known_vocabulary_asks_for_the_tokenizer(pt_file: Path) -> None:
    assert "put the model's tokenizer.json beside it" in error_of(pt_file)


def test_pt_without_torch_names_the_extra(pt_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgewhisper\[torch\]'"):
        read_checkpoint(pt_file)


def test_missing_vocabulary_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgewhisper.models import whisper_vocabulary

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgewhisper\[vocab\]'"):
        whisper_vocabulary.whisper_vocabulary.__wrapped__(51_864)


@settings(max_examples=40)
@given(data=st.data())
def test_ggml_cut_anywhere_is_refused(
    ggml_file: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = ggml_file.read_bytes()
    size = data.draw(st.integers(4, len(content) - 1))
    path = tmp_path_factory.mktemp("cut") / "cut.bin"
    path.write_bytes(content[:size])
    error_of(path)


def test_ggml_of_an_unknown_tensor_type_is_refused(ggml_file: Path, tmp_path: Path) -> None:
    small = read_small(tmp_path / "small")
    state = {openai_name(name): array for name, array in small.tensors.items()}
    path = write_ggml(tmp_path / "q.bin", SMALL, state, (), lambda array: (10, array.tobytes()))
    assert "has ggml type 10; only f32, f16, q4_0, q5_0, q5_1, q8_0 can be read" in error_of(path)


@pytest.mark.parametrize(
    ("offset", "value"),
    [(12, -3), (20, 10**9), (36, 10**9), (24, 2**30)],
    ids=["width", "encoder", "decoder", "text"],
)
def test_ggml_with_other_dimensions_is_refused(
    ggml_file: Path, tmp_path: Path, offset: int, value: int
) -> None:
    content = bytearray(ggml_file.read_bytes())
    struct.pack_into("<i", content, offset, value)
    (tmp_path / "bad.bin").write_bytes(content)
    assert "not those of a Whisper model" in error_of(tmp_path / "bad.bin")


def test_ggml_without_a_vocabulary_asks_for_the_tokenizer(tmp_path: Path) -> None:
    small = read_small(tmp_path / "small")
    state = {openai_name(name): array for name, array in small.tensors.items()}
    path = write_ggml(tmp_path / "ggml.bin", SMALL, state, base_tokens=())
    assert "put the model's tokenizer.json beside it" in error_of(path)
