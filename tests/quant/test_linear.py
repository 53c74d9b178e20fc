"""Linear layers are found by what they compute, whoever wrote the graph."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edgewhisper.errors import BuildError
from edgewhisper.export.model_file import load_model
from edgewhisper.quant.calibration import Statistics
from edgewhisper.quant.dynamic import quantize_dynamic
from edgewhisper.quant.linear import (
    LinearLayer,
    add_initializer,
    linear_layers,
    remove_unused_initializers,
    values,
)
from edgewhisper.quant.smoothing import scale_rows
from edgewhisper.quant.static import StaticOptions, quantize_static
from edgewhisper.quant.targets import number_formats
from edgewhisper.quant.weight_only import WeightOnlyOptions, quantize_weights
from tests.small_models import SMALL, export, random_checkpoint, random_tensors

W = np.arange(12, dtype=np.float32).reshape(3, 4)
B = np.arange(4, dtype=np.float32)


def graph_of(*nodes: NodeProto, **constants: NDArray[np.float32]) -> ir.Model:
    graph = helper.make_graph(
        nodes,
        "hand-made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return ir.serde.deserialize_model(helper.make_model(graph))


def only_layer(model: ir.Model) -> LinearLayer:
    (layer,) = linear_layers(model)
    return layer


@pytest.mark.parametrize("inputs", [["p", "b"], ["b", "p"]])
def test_a_bias_of_its_own_belongs_to_the_layer(inputs: list[str]) -> None:
    model = graph_of(
        helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", inputs, ["y"]), w=W, b=B
    )
    layer = only_layer(model)
    assert (layer.name, layer.shape, layer.input.name, layer.output.name) == ("w", (3, 4), "x", "y")
    assert layer.bias is not None
    np.testing.assert_array_equal(values(layer.bias), B)
    np.testing.assert_array_equal(layer.matrix(), W)


def test_a_product_that_others_need_keeps_its_bias_outside() -> None:
    model = graph_of(
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["q"]),
        helper.make_node("Mul", ["p", "q"], ["y"]),
        w=W,
        b=B,
    )
    layer = only_layer(model)
    assert layer.bias is None
    assert layer.output.name == "p"


def test_a_bias_that_broadcasts_over_rows_is_not_a_layers() -> None:
    model = graph_of(
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["y"]),
        w=W,
        b=np.zeros((5, 1), np.float32),
    )
    assert only_layer(model).bias is None


def test_gemm_is_a_layer_with_its_bias() -> None:
    layer = only_layer(
        graph_of(helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1), w=W.T.copy(), b=B)
    )
    assert layer.transposed
    assert layer.bias is not None
    assert layer.shape == (3, 4)
    np.testing.assert_array_equal(layer.matrix(), W)


@pytest.mark.parametrize("attributes", [{"alpha": 0.5}, {"transA": 1}])
def test_a_scaled_or_transposed_product_is_left_alone(attributes: dict[str, Any]) -> None:
    assert (
        linear_layers(graph_of(helper.make_node("Gemm", ["x", "w", "b"], ["y"], **attributes), w=W, b=B))
        == []
    )


def test_products_of_two_computed_values_are_no_layers() -> None:
    model = graph_of(
        helper.make_node("Transpose", ["x"], ["t"]), helper.make_node("MatMul", ["x", "t"], ["y"]), w=W
    )
    assert linear_layers(model) == []


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graphs")
    export(random_checkpoint(SMALL, seed=3), folder)
    return folder


def test_a_decoder_has_every_layer_of_the_model(graphs: Path) -> None:
    layers = linear_layers(load_model(graphs / "decoder.onnx"))
    d, ffn = SMALL.d_model, SMALL.decoder_ffn
    block = [(d, 3 * d), (d, d), (d, d), (d, d), (d, ffn), (ffn, d)]
    assert [layer.shape for layer in layers] == block * SMALL.decoder_layers + [(d, SMALL.vocab_size)]
    assert [layer.transposed for layer in layers].count(True) == 1
    tensors = random_tensors(SMALL, seed=3)
    output = next(layer for layer in layers if "1.encoder_attn.out_proj" in layer.name)
    np.testing.assert_array_equal(output.matrix(), tensors["decoder.layers.1.encoder_attn.out_proj.weight"].T)


def test_replacing_keeps_the_results_name(graphs: Path) -> None:
    model = load_model(graphs / "encoder.onnx")
    before = [layer.output.name for layer in linear_layers(model)]
    for layer in linear_layers(model):
        identity = ir.node("Identity", [layer.input], name=f"{layer.name}.identity")
        layer.replace(model.graph, [identity])
    assert linear_layers(model) == []
    assert [node.outputs[0].name for node in model.graph if node.op_type == "Identity"] == before
    remove_unused_initializers(model.graph)
    assert not any(".fc1.weight" in name for name in model.graph.initializers)


def test_an_initializer_is_made_once() -> None:
    model = graph_of(helper.make_node("Identity", ["x"], ["y"]))
    first = add_initializer(model.graph, "scale", lambda: B)
    assert add_initializer(model.graph, "scale", lambda: B + 1) is first


def test_a_quantized_graph_is_refused() -> None:
    model = graph_of(
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    )
    with pytest.raises(BuildError, match="already quantized"):
        linear_layers(model)


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("how", ["static", "dynamic", "weights"])
def test_a_gemm_with_a_transposed_weight_is_quantized_like_a_product(how: str, with_bias: bool) -> None:
    """A linear layer as PyTorch exports it: Gemm(x [n, d_in], W [d_out, d_in], b, transB=1)."""
    random = np.random.default_rng(0)
    weight, bias = random.standard_normal((64, 32), np.float32), random.standard_normal(64, np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"][: 2 + with_bias], ["y"], transB=1)],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 64])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")][: 1 + with_bias],
    )
    model = ir.serde.deserialize_model(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    )
    x = random.standard_normal((5, 32), np.float32)
    if how == "static":
        observed = Statistics(x.min(0), x.max(0), np.abs(x).max(0), np.ones((32, 256), np.int64))
        quantize_static(model, {"x": observed}, number_formats("x86-avx2"), StaticOptions())
    elif how == "dynamic":
        quantize_dynamic(model, number_formats("x86-avx2"))
    else:
        quantize_weights(model, WeightOnlyOptions(8))
    assert "Gemm" not in {node.op_type for node in model.graph}
    session = onnxruntime.InferenceSession(
        ir.serde.serialize_model(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    expected = x @ weight.T + (bias if with_bias else 0)
    assert np.linalg.norm(session.run(None, {"x": x})[0] - expected) < 0.02 * np.linalg.norm(expected)


def test_smoothing_scales_the_inputs_of_a_transposed_weight() -> None:
    random = np.random.default_rng(0)
    weight, factors = (
        random.standard_normal((32, 32), np.float32),
        random.uniform(0.5, 2, 32).astype(np.float32),
    )
    model = ir.serde.deserialize_model(
        helper.make_model(
            helper.make_graph(
                [helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)],
                "linear",
                [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 32])],
                [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 32])],
                [numpy_helper.from_array(weight, "w")],
            )
        )
    )
    scale_rows(model.graph, only_layer(model), factors)
    np.testing.assert_allclose(only_layer(model).matrix(), weight.T * factors[:, None], rtol=1e-6)
