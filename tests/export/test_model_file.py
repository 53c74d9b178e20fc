"""A graph that is read and written again is the same graph."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from edgewhisper.export.model_file import load_model, save_model
from edgewhisper.export.weights import WeightsWriter
from tests.small_models import SMALL, export, random_checkpoint


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    export(random_checkpoint(SMALL, seed=3), folder)
    return folder


def copy(source: Path, folder: Path) -> None:
    folder.mkdir()
    with WeightsWriter(folder / "weights.bin") as weights:
        for name in ("encoder.onnx", "decoder.onnx"):
            save_model(load_model(source / name), folder / name, weights)


def test_a_copy_computes_the_same(source: Path, tmp_path: Path) -> None:
    copy(source, tmp_path / "copy")
    features = np.random.default_rng(1).standard_normal((1, SMALL.n_mels, 20), dtype=np.float32)
    original, copied = (
        onnxruntime.InferenceSession(folder / "encoder.onnx").run(None, {"audio_features": features})
        for folder in (source, tmp_path / "copy")
    )
    for one, other in zip(original, copied, strict=True):
        np.testing.assert_array_equal(one, other)


def test_copying_gives_the_same_bytes_each_time(source: Path, tmp_path: Path) -> None:
    copy(source, tmp_path / "one")
    copy(source, tmp_path / "other")
    for name in ("encoder.onnx", "decoder.onnx", "weights.bin"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_a_copy_keeps_every_tensor(source: Path, tmp_path: Path) -> None:
    copy(source, tmp_path / "copy")
    for name in ("encoder.onnx", "decoder.onnx"):
        before, after = (onnx.load(folder / name).graph.initializer for folder in (source, tmp_path / "copy"))
        assert [tensor.name for tensor in before] == [tensor.name for tensor in after]
        for one, other in zip(before, after, strict=True):
            np.testing.assert_array_equal(onnx.numpy_helper.to_array(one), onnx.numpy_helper.to_array(other))


def test_one_name_for_two_tensors_is_an_error(tmp_path: Path) -> None:
    with WeightsWriter(tmp_path / "weights.bin") as weights:
        weights.tensor_of("x", ir.tensor(np.zeros(300, np.float32)))
        with pytest.raises(ValueError, match="two tensors are called 'x'"):
            weights.tensor_of("x", ir.tensor(np.zeros(400, np.float32)))
