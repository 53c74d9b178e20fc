"""Half precision: stored weights that a processor computes with in fp32, and whole graphs for GPUs."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgewhisper.artifact import Manifest
from edgewhisper.errors import BuildError
from edgewhisper.export.model_file import load_model
from edgewhisper.quant.half import convert_to_fp16
from edgewhisper.quant.weight_only import WeightOnlyOptions, quantize_weights
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.encoder import Encoder
from edgewhisper.runtime.session import SessionSettings
from tests.quant.converted import convert
from tests.small_models import SMALL, export, random_checkpoint

TWO_THREADS = SessionSettings(threads=2)
Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    folder = tmp_path_factory.mktemp("fp32")
    return folder, export(random_checkpoint(), folder)


def round_matrices(model: ir.Model) -> None:
    """fp32 weights rounded to fp16: what the stored halves stand for."""
    for value in model.graph.initializers.values():
        assert value.const_value is not None
        array = value.const_value.numpy()
        if array.dtype == np.float32 and array.ndim > 1:
            value.const_value = ir.Tensor(array.astype(np.float16).astype(np.float32), name=value.name)


def logits(folder: Path, manifest: Manifest) -> Floats:
    """The logits after some tokens, from noise."""
    shape = (SMALL.n_mels, 2 * SMALL.max_source_positions)
    features = np.random.default_rng(0).standard_normal(shape, np.float32)
    decoder = Decoder(folder, manifest, TWO_THREADS)
    decoder.reset(Encoder(folder, manifest, TWO_THREADS).run(features))
    prompt = decoder.run([5, 1, 9, 300]).copy()
    return np.concatenate([prompt, decoder.run([7])])


def test_stored_halves_give_the_logits_of_rounded_weights(
    source: tuple[Path, Manifest], tmp_path: Path
) -> None:
    halves = convert(*source, tmp_path / "halves", lambda model: convert_to_fp16(model, "arm64"))
    rounded = convert(*source, tmp_path / "rounded", round_matrices)
    assert np.array_equal(logits(tmp_path / "halves", halves), logits(tmp_path / "rounded", rounded))
    sizes = [(folder / "weights.bin").stat().st_size for folder in (tmp_path / "halves", source[0])]
    assert sizes[0] < 0.6 * sizes[1]


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_onnx_runtime_folds_the_casts_of_stored_halves(
    source: tuple[Path, Manifest], tmp_path: Path, name: str
) -> None:
    convert(*source, tmp_path, lambda model: convert_to_fp16(model, "x86-vnni"))
    stored = onnx.load(tmp_path / f"{name}.onnx", load_external_data=False)
    casts = [node for node in stored.graph.node if node.name.endswith(".fp32.cast")]
    assert len(casts) > 6 * SMALL.decoder_layers
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3  # that an optimized graph suits only this machine is known
    onnxruntime.InferenceSession(tmp_path / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
    optimized = onnx.load(tmp_path / "optimized.onnx", load_external_data=False)
    assert not [node.name for node in optimized.graph.node if node.name.endswith(".fp32.cast")]
    assert TensorProto.FLOAT16 not in {tensor.data_type for tensor in optimized.graph.initializer}


def test_a_graph_for_gpus_computes_and_keeps_its_caches_in_fp16(
    source: tuple[Path, Manifest], tmp_path: Path
) -> None:
    manifest = convert(*source, tmp_path, lambda model: convert_to_fp16(model, "cuda"))
    decoder, encoder = (manifest.graphs[name] for name in ("decoder", "encoder"))
    for graph in (decoder, encoder):
        for info in (*graph.inputs, *graph.outputs):
            is_cache = info.name.startswith(("past_", "present_"))
            kept = "float16" if is_cache else "float"
            assert info.dtype == kept or info.dtype.startswith("int"), info
        for tensor in onnx.load(tmp_path / graph.file, load_external_data=False).graph.initializer:
            assert tensor.data_type != TensorProto.FLOAT, tensor.name
    expected, found = logits(*source), logits(tmp_path, manifest)
    assert np.linalg.norm(found - expected) < 0.01 * np.linalg.norm(expected)
    assert not np.array_equal(found, expected)


def hand_made(weight: Floats) -> ir.Model:
    """y = (x W) + c, c from a Constant node of an exporter, by way of a Cast."""
    constant = numpy_helper.from_array(np.asarray([0.5], np.float32))
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Constant", [], ["c"], value=constant, name="constant"),
        helper.make_node("Cast", ["n"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["c", "f"], ["d"]),
        helper.make_node("Add", ["p", "d"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "hand-made",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", len(weight)]),
            helper.make_tensor_value_info("n", TensorProto.INT64, [1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", weight.shape[1]])],
        [numpy_helper.from_array(weight, "w")],
    )
    return ir.serde.deserialize_model(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    )


def test_constants_and_casts_inside_a_graph_follow() -> None:
    weight = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    model = hand_made(weight)
    convert_to_fp16(model, "cuda")
    session = onnxruntime.InferenceSession(
        ir.serde.serialize_model(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    x = np.random.default_rng(1).standard_normal((4, 8)).astype(np.float32)
    (y,) = session.run(None, {"x": x, "n": np.array([4])})
    assert y.dtype == np.float32
    assert np.allclose(y, x @ weight + 2, atol=0.02)


@pytest.mark.parametrize("target", ["cuda", "arm64"])
def test_values_beyond_the_range_are_an_error_that_names_the_tensor(target: str) -> None:
    weight = np.ones((8, 3), np.float32)
    weight[2, 1] = -7e4
    with pytest.raises(BuildError, match=r"tensor 'w': 7e\+04 is beyond fp16's range of 65504"):
        convert_to_fp16(hand_made(weight), target)


def test_the_largest_half_is_within_the_range() -> None:
    model = hand_made(np.full((8, 3), 65504, np.float32))
    convert_to_fp16(model, "arm64")
    tensor = model.graph.initializers["w"].const_value
    assert tensor is not None
    assert np.array_equal(tensor.numpy(), np.full((8, 3), 65504, np.float16))


@pytest.mark.parametrize("target", ["cuda", "arm64"])
def test_a_converted_graph_is_refused(source: tuple[Path, Manifest], target: str) -> None:
    model = load_model(source[0] / "decoder.onnx")
    convert_to_fp16(model, target)
    with pytest.raises(BuildError, match="already in fp16"):
        convert_to_fp16(model, target)
    model = load_model(source[0] / "decoder.onnx")
    quantize_weights(model, WeightOnlyOptions(8))
    with pytest.raises(BuildError, match="already quantized"):
        convert_to_fp16(model, target)
