"""Dynamic INT8: the product of the rounded factors, and close to fp32."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgewhisper.errors import BuildError
from edgewhisper.export.model_file import load_model, save_model
from edgewhisper.export.weights import WeightsWriter
from edgewhisper.quant.dynamic import quantize_dynamic
from edgewhisper.quant.targets import number_formats
from edgewhisper.runtime.processor import host_target
from tests.small_models import SMALL, export, random_checkpoint

TARGETS = ("x86-vnni", "x86-avx2", "arm64")
# Products of others saturate without VNNI.
COMPUTED_HERE = ("x86-avx2",) if host_target() == "x86-avx2" else TARGETS
Floats = NDArray[np.float32]


def graph_of(nodes: list[onnx.NodeProto], constants: dict[str, Floats], width: int) -> ir.Model:
    """x [batch, positions, width] -> y."""
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", "positions", width])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))


def linear_graph(weight: Floats, bias: Floats) -> ir.Model:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["xw"]), helper.make_node("Add", ["b", "xw"], ["y"])]
    return graph_of(nodes, {"w": weight, "b": bias}, weight.shape[0])


def run(model: ir.Model, x: Floats) -> Floats:
    session = onnxruntime.InferenceSession(
        ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (y,) = session.run(None, {session.get_inputs()[0].name: x})
    assert isinstance(y, np.ndarray)
    return y


def rounded_product(x: Floats, weight: Floats, bias: Floats, limit: int) -> NDArray[np.float64]:
    """The definition of DynamicQuantizeLinear, and weights rounded by column, in float64."""
    low, high = min(x.min(), np.float32(0)), max(x.max(), np.float32(0))
    scale = np.float32(high - low) / np.float32(255) or np.float32(1)
    zero_point = np.clip(np.rint(-low / scale), 0, 255)
    integers = np.clip(np.rint(x / scale) + zero_point, 0, 255) - zero_point
    column_scales = np.abs(weight).max(axis=0) / np.float32(limit)
    columns = np.rint(weight / np.where(column_scales == 0, 1, column_scales))
    product = integers.astype(np.float64) @ columns.astype(np.float64)
    result: NDArray[np.float64] = product * scale * column_scales + bias
    return result


@given(
    batch=st.integers(1, 3),
    positions=st.integers(1, 9),
    width=st.integers(1, 70),
    outputs=st.integers(1, 40),
    target=st.sampled_from(COMPUTED_HERE),
    seed=st.integers(0, 2**16),
)
def test_a_layer_is_the_product_of_its_rounded_factors(
    batch: int, positions: int, width: int, outputs: int, target: str, seed: int
) -> None:
    random = np.random.default_rng(seed)
    x = random.standard_normal((batch, positions, width), dtype=np.float32)
    weight = random.standard_normal((width, outputs), dtype=np.float32)
    weight[:, 0] = 0
    bias = random.standard_normal(outputs, dtype=np.float32)
    model = linear_graph(weight, bias)
    formats = number_formats(target)
    quantize_dynamic(model, formats)
    expected = rounded_product(x, weight, bias, formats.weight_limit)
    # A quotient that lies on a half may round either way: one step of one activation.
    step = np.ptp(np.append(x, 0)) / 255 * np.abs(weight).max()
    np.testing.assert_allclose(run(model, x), expected, rtol=1e-5, atol=1e-5 + 1.01 * step)


@pytest.mark.parametrize("target", TARGETS)
def test_weights_are_within_what_the_target_multiplies_without_loss(target: str) -> None:
    weight = np.random.default_rng(0).standard_normal((64, 32), dtype=np.float32)
    model = linear_graph(weight, np.zeros(32, np.float32))
    quantize_dynamic(model, number_formats(target))
    tensor = model.graph.initializers["w.int8"].const_value
    assert tensor is not None
    assert tensor.dtype == ir.DataType.INT8
    assert np.abs(tensor.numpy().astype(int)).max() == {"x86-avx2": 63}.get(target, 127)
    assert "w" not in model.graph.initializers


def test_layers_that_read_one_value_share_its_rounding_and_take_their_biases() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["xw1"]),
        helper.make_node("Add", ["xw1", "b"], ["y1"]),
        helper.make_node("MatMul", ["x", "w2"], ["y2"]),
        helper.make_node("MatMul", ["y1", "y2"], ["y"]),
    ]
    random = np.random.default_rng(1)
    constants = {name: random.standard_normal((8, 8), dtype=np.float32) for name in ("w1", "w2")}
    model = graph_of(nodes, constants | {"b": np.ones(8, np.float32)}, 8)
    quantize_dynamic(model, number_formats("x86-vnni"))
    types = [node.op_type for node in model.graph]
    assert types == ["DynamicQuantizeLinear", "MatMulIntegerToFloat", "MatMulIntegerToFloat", "MatMul"]
    assert {"y1", "y2", "y"} <= {value.name for node in model.graph for value in node.outputs}


def test_a_layer_may_read_the_result_of_another() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w1"], ["h"]), helper.make_node("MatMul", ["h", "w2"], ["y"])]
    random = np.random.default_rng(2)
    constants = {name: random.standard_normal((16, 16), dtype=np.float32) for name in ("w1", "w2")}
    x = random.standard_normal((1, 5, 16), dtype=np.float32)
    model = graph_of(nodes, constants, 16)
    quantize_dynamic(model, number_formats(host_target()))
    expected = x @ constants["w1"] @ constants["w2"]
    assert np.linalg.norm(run(model, x) - expected) < 0.03 * np.linalg.norm(expected)


def test_a_quantized_graph_is_refused() -> None:
    model = linear_graph(np.ones((4, 4), np.float32), np.ones(4, np.float32))
    quantize_dynamic(model, number_formats("x86-vnni"))
    with pytest.raises(BuildError, match="already quantized"):
        quantize_dynamic(model, number_formats("x86-vnni"))


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The small model's encoder in fp32 and in INT8."""
    folder = tmp_path_factory.mktemp("encoders")
    export(random_checkpoint(), folder / "fp32")
    return folder / "fp32" / "encoder.onnx", quantized_encoder(
        folder / "fp32" / "encoder.onnx", folder / "int8"
    )


def quantized_encoder(source: Path, folder: Path) -> Path:
    model = load_model(source)
    quantize_dynamic(model, number_formats(host_target()))
    folder.mkdir()
    with WeightsWriter(folder / "weights.bin") as weights:
        save_model(model, folder / "encoder.onnx", weights)
    return folder / "encoder.onnx"


@pytest.mark.parametrize(("batch", "frames"), [(1, 200), (1, 4), (1, 102), (3, 64)])
def test_an_encoder_stays_close_to_fp32_at_any_length_and_batch(
    encoders: tuple[Path, Path], batch: int, frames: int
) -> None:
    features = np.random.default_rng(3).standard_normal((batch, SMALL.n_mels, frames), dtype=np.float32)
    fp32, int8 = (
        onnxruntime.InferenceSession(path).run(None, {"audio_features": features}) for path in encoders
    )
    assert len(fp32) == len(int8) == 2 * SMALL.decoder_layers
    for expected, actual in zip(fp32, int8, strict=True):
        assert isinstance(expected, np.ndarray)
        assert isinstance(actual, np.ndarray)
        assert 0 < np.linalg.norm(actual - expected) < 0.08 * np.linalg.norm(expected)


def test_an_encoder_keeps_no_fp32_matrix(encoders: tuple[Path, Path]) -> None:
    graph = onnx.load(encoders[1], load_external_data=False).graph
    matrices = {
        tensor.name
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2
    }
    assert matrices == {"encoder.embed_positions.weight"}
    assert not [node for node in graph.node if node.op_type == "MatMul"]
    names = [node.name for node in graph.node]
    assert len(names) == len(set(names))


def test_equal_graphs_give_equal_bytes(encoders: tuple[Path, Path], tmp_path: Path) -> None:
    again = quantized_encoder(encoders[0], tmp_path / "again")
    for file in ("encoder.onnx", "weights.bin"):
        assert (again.parent / file).read_bytes() == (encoders[1].parent / file).read_bytes()
