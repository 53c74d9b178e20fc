"""Convs that feed each other, alone or in a larger graph, in every form: what they give, and what is made of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from torch.nn import functional

from edgewhisper.export.nodes import CONTRIB
from edgewhisper.export.pass_writer import PassWriter
from edgewhisper.export.winograd import rewrite
from edgewhisper.export.winograd.choice import Choice
from edgewhisper.runtime.processor import host_target
from tests.export.winograd.graphs import Array, op_types, run

METHODS: tuple[Choice, ...] = ("slices", "F2", "F4", "F6")
# On both sides of the width from which every point has a product of its own.
WIDTHS = (3, 8, 130)


@dataclass(frozen=True)
class Layer:
    """A Conv and what follows it."""

    width: int
    stride: int
    padding: Any  # (left, right) or auto_pad
    has_bias: bool
    gelu: str | None  # "contrib", "standard", "tanh" or none


layers = st.builds(
    Layer,
    width=st.sampled_from(WIDTHS),
    stride=st.sampled_from((1, 2)),
    padding=st.one_of(
        st.tuples(st.integers(0, 4), st.integers(0, 4)),
        st.sampled_from(("VALID", "SAME_UPPER", "SAME_LOWER")),
    ),
    has_bias=st.booleans(),
    gelu=st.sampled_from((None, "contrib", "standard", "tanh")),
)


def weights_of(layer: Layer, channels: int, seed: int) -> tuple[Array, Array | None]:
    random = np.random.default_rng(seed)
    weight = random.normal(size=(layer.width, channels, 3)) / np.sqrt(3 * channels)
    return weight.astype(np.float32), random.normal(size=layer.width).astype(
        np.float32
    ) if layer.has_bias else None


def chain_model(chain: list[Layer], channels: int, shape: list[str | int], transpose: bool) -> ir.Model:
    x = ir.Value(
        name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([shape[0], channels, shape[1]])
    )
    graph = ir.Graph([x], [], nodes=[], opset_imports={"": 20, CONTRIB: 1}, name="chain")
    writer, y, width = PassWriter(graph, "chain"), x, channels
    for index, layer in enumerate(chain):
        weight, bias = weights_of(layer, width, index)
        inputs = [writer.constant(f"w{index}", weight)]
        if bias is not None:
            inputs.append(writer.constant(f"b{index}", bias))
        attributes: dict[str, Any] = {"strides": [layer.stride], "kernel_shape": [3]}
        pads = layer.padding
        attributes |= {"auto_pad": pads} if isinstance(pads, str) else {"pads": list(pads)}
        y = writer.op("Conv", y, *inputs, **attributes)
        if layer.gelu == "contrib":
            y = writer.op("Gelu", y, domain=CONTRIB)
        elif layer.gelu is not None:
            y = writer.op("Gelu", y, approximate="tanh" if layer.gelu == "tanh" else "none")
        width = layer.width
    if transpose:
        y = writer.op("Transpose", y, perm=[0, 2, 1])
    y.name, y.type = "y", x.type
    graph.extend(writer.nodes)
    graph.outputs.append(y)
    return ir.Model(graph, ir_version=10)


def exact(chain: list[Layer], x: Array, transpose: bool) -> Array | None:
    """The chain in float64 by PyTorch; None where a layer has no window to see."""
    y = torch.from_numpy(x).double()
    for index, layer in enumerate(chain):
        weight, bias = weights_of(layer, y.shape[1], index)
        left, right = (0, 0) if isinstance(layer.padding, str) else layer.padding
        if isinstance(layer.padding, str) and layer.padding.startswith("SAME"):
            total = max((-(-y.shape[2] // layer.stride) - 1) * layer.stride + 3 - y.shape[2], 0)
            small, large = total // 2, total - total // 2
            left, right = (small, large) if layer.padding == "SAME_UPPER" else (large, small)
        if y.shape[2] + left + right < 3:
            return None
        y = functional.conv1d(
            functional.pad(y, (left, right)), torch.from_numpy(weight).double(),
            None if bias is None else torch.from_numpy(bias).double(), stride=layer.stride,
        )  # fmt: skip
        if layer.gelu is not None:
            y = functional.gelu(y, approximate="tanh" if layer.gelu == "tanh" else "none")
    return np.asarray(y.transpose(1, 2) if transpose else y)


@settings(deadline=None, max_examples=80)
@given(
    chain=st.lists(layers, min_size=1, max_size=4), channels=st.sampled_from(WIDTHS), batch=st.integers(1, 3),
    length=st.integers(1, 40), method=st.sampled_from(METHODS), transpose=st.booleans(), fixed=st.booleans(),
)  # fmt: skip
def test_a_rewritten_chain_gives_what_its_convs_give(
    chain: list[Layer], channels: int, batch: int, length: int, method: Choice, transpose: bool, fixed: bool
) -> None:
    x = np.random.default_rng(7).normal(size=(batch, channels, length)).astype(np.float32)
    expected = exact(chain, x, transpose)
    if expected is None:
        return
    model = chain_model(chain, channels, [batch, length] if fixed else ["batch", "frames"], transpose)
    infos = rewrite(model, method, host_target())
    assert len(infos) == len(chain)
    assert "Conv" not in op_types(model)
    y = run(model, {"x": x})
    assert y.shape == expected.shape
    assert np.linalg.norm(y - expected) <= 2e-5 * np.linalg.norm(expected) + 1e-6


@pytest.mark.parametrize(("method", "tile"), [("F2", 2), ("F4", 4), ("F6", 6)])
def test_wide_filters_are_multiplied_point_by_point_and_narrow_ones_at_once(
    method: Choice, tile: int
) -> None:
    for channels, products in ((130, tile + 2), (8, 1)):
        model = chain_model([Layer(16, 1, (1, 1), False, None)], channels, ["batch", "frames"], False)
        rewrite(model, method, host_target())
        assert op_types(model).count("MatMul") == products + 2  # the two transforms


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stride", [1, 2])
def test_int8_is_as_exact_as_it_says(method: Choice, stride: int) -> None:
    layer = Layer(96, stride, (1, 1), True, None)
    x = np.random.default_rng(7).normal(size=(1, 130, 400)).astype(np.float32)
    expected = exact([layer], x, False)
    assert expected is not None
    model = chain_model([layer], 130, ["batch", "frames"], False)
    (info,) = rewrite(model, method, host_target(), "int8")
    assert "MatMulIntegerToFloat" in op_types(model)
    assert info.error is not None
    error = np.linalg.norm(run(model, {"x": x}) - expected) / np.linalg.norm(expected)
    assert 0.3 * info.error < error < 2 * info.error


def two_convs(
    weights: list[str], biases: list[str | None], chained: bool = False, sum_both: bool = True
) -> ir.Model:
    """Two Convs by the names of their constants, on x or on each other."""
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["batch", 6, "frames"]))
    graph = ir.Graph([x], [], nodes=[], opset_imports={"": 20, CONTRIB: 1}, name="two")
    writer = PassWriter(graph, "two")
    values, y = [], x
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        random = np.random.default_rng(len(weight) + ord(weight[-1]))
        inputs = [writer.constant(weight, random.normal(size=(6, 6, 3)).astype(np.float32))]
        if bias is not None:
            inputs.append(writer.constant(bias, np.full(6, float(ord(bias[-1])), np.float32)))
        y = writer.op("Conv", y if chained else x, *inputs, pads=[1, 1], strides=[1], kernel_shape=[3])
        y.producer().name = f"conv{index}"  # type: ignore[union-attr]
        values.append(y)
    y = writer.op("Concat", *values, axis=1) if sum_both else values[-1]
    y.name, y.type = "y", x.type
    graph.extend(writer.nodes)
    graph.outputs.append(y)
    return ir.Model(graph, ir_version=10)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("chained", [False, True])
@pytest.mark.parametrize("biases", [["b1", "b2"], ["b1", None], [None, "b2"], ["b1", "b1"]])
def test_convs_may_share_weights(method: Choice, chained: bool, biases: list[str | None]) -> None:
    x = np.random.default_rng(1).normal(size=(2, 6, 21)).astype(np.float32)
    expected = run(two_convs(["w", "w"], biases, chained), {"x": x})
    model = two_convs(["w", "w"], biases, chained)
    assert len(rewrite(model, method, host_target())) == 2
    assert "Conv" not in op_types(model)
    np.testing.assert_allclose(run(model, {"x": x}), expected, rtol=1e-4, atol=1e-3)


def test_a_middle_value_that_others_read_stays() -> None:
    x = np.random.default_rng(1).normal(size=(1, 6, 30)).astype(np.float32)
    for as_output in (False, True):
        plain, model = (two_convs(["w", "v"], ["b1", "b2"], True, sum_both=not as_output) for _ in range(2))
        for graph in (plain.graph, model.graph):
            if as_output:
                middle = next(node for node in graph if node.name == "conv0").outputs[0]
                middle.type = graph.inputs[0].type
                graph.outputs.insert(0, middle)
        rewrite(model, "F4", host_target())
        assert "Conv" not in op_types(model)
        np.testing.assert_allclose(run(model, {"x": x}), run(plain, {"x": x}), rtol=1e-4, atol=1e-3)


def test_weights_from_constant_nodes_and_through_identity_are_found() -> None:
    """Exporters write equal biases once and hand them on by Identity."""
    x = np.random.default_rng(1).normal(size=(1, 6, 30)).astype(np.float32)
    model = two_convs(["w", "v"], ["b1", "b2"], True)
    expected = run(two_convs(["w", "v"], ["b1", "b2"], True), {"x": x})
    graph = model.graph
    first, second = (node for node in graph if node.op_type == "Conv")
    weight = first.inputs[1]
    assert weight is not None
    assert weight.const_value is not None
    constant = ir.node("Constant", [], {"value": weight.const_value}, name="constant")
    constant.outputs[0].name = "constant"
    identity = ir.node("Identity", [second.inputs[2]], name="identity")
    identity.outputs[0].name = "identity"
    graph.insert_before(first, [constant, identity])
    first.replace_input_with(1, constant.outputs[0])
    second.replace_input_with(2, identity.outputs[0])
    assert [info.method for info in rewrite(model, "slices", host_target())] == ["slices", "slices"]
    np.testing.assert_allclose(run(model, {"x": x}), expected, rtol=1e-4, atol=1e-3)


def test_weights_that_a_caller_may_replace_are_left_with_a_reason() -> None:
    model = two_convs(["w", "v"], ["b1", "b2"])
    model.graph.inputs.append(model.graph.initializers["w"])
    left, made = rewrite(model, "F2", host_target())
    assert (left.node, left.method) == ("conv0", "none")
    assert left.reason is not None
    assert "inputs of the graph" in left.reason
    assert (made.node, made.method) == ("conv1", "F(2,3)")


def test_convs_in_subgraphs_are_left_with_a_reason() -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["z"], name="inner", kernel_shape=[3])
    branches = {
        name: helper.make_graph([node], name, [], [helper.make_tensor_value_info("z", 1, None)])
        for name, node in (("then_branch", conv), ("else_branch", helper.make_node("Identity", ["x"], ["z"])))
    }
    graph = helper.make_graph(
        [helper.make_node("If", ["c"], ["y"], **branches)],
        "outer",
        [helper.make_tensor_value_info("c", 9, []), helper.make_tensor_value_info("x", 1, ["b", 6, "t"])],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(np.ones((6, 6, 3), np.float32), "w")],
    )
    model = ir.serde.deserialize_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]))
    (info,) = rewrite(model, "F2", host_target())
    assert (info.node, info.method) == ("inner", "none")
    assert "subgraph" in (info.reason or "")
