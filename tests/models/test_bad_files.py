"""Files of torch and of whisper.cpp that cannot be read: one clear line each, and nothing in them is run."""

import pickle
import struct
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewhisper.errors import MissingDependencyError
from edgewhisper.models.openai_names import openai_name
from edgewhisper.models.reader import read_checkpoint
from tests.models.checkpoint_files import SMALL, error_of, read_small, write_ggml, write_pt


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
