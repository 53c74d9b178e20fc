"""Half precision: weights stored in fp16 for processors, whole graphs computed in fp16 for GPUs.

A processor multiplies in fp32: the graph casts each weight back, ONNX Runtime folds the casts when it loads the graph, and
speed and text are those of fp32 weights rounded to fp16. The files are half as large; loading takes longer, and a tenth more
memory.

A GPU computes in fp16. Its kernels of LayerNormalization and Softmax sum up in fp32 by themselves, so no operator is left out.
"""

import functools
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgewhisper.errors import BuildError

from .linear import linear_layers

FLOAT, FLOAT16 = ir.DataType.FLOAT, ir.DataType.FLOAT16
LARGEST = float(np.finfo(np.float16).max)
# Keys and values stay in fp16 from one run to the next; every other input and output of a graph remains fp32.
_KEPT_BETWEEN_RUNS = ("past_", "present_")


def convert_to_fp16(model: ir.Model, target: str) -> None:
    """Convert a graph in place: for "cuda" the whole graph, for other targets the stored weights.

    Raises:
        BuildError: a value beyond fp16's range, or a graph that is quantized or in fp16 already.
    """
    linear_layers(model)  # refuses a quantized graph
    if any(value.dtype == FLOAT16 for value in model.graph.initializers.values()):
        raise BuildError(f"graph '{model.graph.name}': already in fp16; start from an fp32 artifact")
    if target == "cuda":
        _compute_in_fp16(model.graph)
    else:
        _store_in_fp16(model.graph)


def _store_in_fp16(graph: ir.Graph) -> None:
    """Matrices and convolution kernels become fp16 with a Cast to fp32; vectors, a thousandth of the weights, stay."""
    first = graph[0]
    for value in list(graph.initializers.values()):
        if value.dtype != FLOAT or value.shape is None or len(value.shape) < 2:
            continue
        _halve(value)
        cast = _cast(f"{value.name}.fp32", FLOAT, value.shape)
        ir.convenience.replace_all_uses_with(value, cast.outputs[0])
        cast.resize_inputs(1)
        cast.replace_input_with(0, value)
        graph.insert_before(first, cast)


def _compute_in_fp16(graph: ir.Graph) -> None:
    for value in graph.initializers.values():
        if value.dtype == FLOAT:
            _halve(value)
    for node in graph:
        for attribute in list(node.attributes.values()):
            if attribute.type == ir.AttributeType.TENSOR and attribute.value.dtype == FLOAT:
                half = _half_of(attribute.value, f"a constant of node '{node.name}'")
                node.attributes.add(ir.AttrTensor(attribute.name, ir.Tensor(half())))
        if node.op_type == "Cast" and node.attributes["to"].as_int() == FLOAT:
            node.attributes.add(ir.AttrInt64("to", FLOAT16))
        for output in node.outputs:
            if output.dtype == FLOAT:
                output.dtype = FLOAT16
    for value in graph.inputs:
        if value.dtype == FLOAT:
            _convert_input(graph, value)
    for index, value in enumerate(graph.outputs):
        if value.dtype == FLOAT16 and not _is_kept(value):
            _convert_output(graph, index, value)


def _convert_input(graph: ir.Graph, value: ir.Value) -> None:
    if _is_kept(value):
        value.dtype = FLOAT16
        return
    cast = _cast(f"{value.name}.fp16", FLOAT16, value.shape)
    ir.convenience.replace_all_uses_with(value, cast.outputs[0])
    cast.resize_inputs(1)
    cast.replace_input_with(0, value)
    graph.insert_before(graph[0], cast)


def _convert_output(graph: ir.Graph, index: int, value: ir.Value) -> None:
    name = value.name or ""
    value.name = f"{name}.fp16"
    cast = _cast(name, FLOAT, value.shape)
    cast.resize_inputs(1)
    cast.replace_input_with(0, value)
    graph.append(cast)
    graph.outputs[index] = cast.outputs[0]


def _is_kept(value: ir.Value) -> bool:
    return (value.name or "").startswith(_KEPT_BETWEEN_RUNS)


def _cast(name: str, to: ir.DataType, shape: ir.Shape | None) -> ir.Node:
    """A Cast without its input, whose output is `name`."""
    output = ir.Value(name=name, type=ir.TensorType(to), shape=shape)
    return ir.node("Cast", [], {"to": to}, outputs=[output], name=f"{name}.cast")


def _halve(value: ir.Value) -> None:
    """Make an initializer fp16; it is converted when it is written, so that one tensor at a time is in memory."""
    tensor, name = value.const_value, value.name or ""
    assert tensor is not None
    half = _half_of(tensor, f"tensor '{name}'")
    value.const_value = ir.LazyTensor(
        lambda: ir.Tensor(half(), name=name), dtype=FLOAT16, shape=ir.Shape(tensor.shape.numpy()), name=name
    )
    value.dtype = FLOAT16


def _half_of(tensor: ir.TensorProtocol, what: str) -> Callable[[], NDArray[np.float16]]:
    """What reads a tensor in fp16.

    Raises:
        BuildError: a finite value is beyond fp16's range.
    """
    values = tensor.numpy()
    finite = np.abs(values[np.isfinite(values)])
    largest = float(finite.max(initial=0.0))
    if largest > LARGEST:
        raise BuildError(
            f"{what}: {largest:.4g} is beyond fp16's range of {LARGEST:.0f}; take another precision, such as int8"
        )
    return functools.partial(_read_half, tensor)


def _read_half(tensor: ir.TensorProtocol) -> NDArray[np.float16]:
    return np.asarray(tensor.numpy(), np.float16)
