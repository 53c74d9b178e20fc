"""SmoothQuant: move the spread of activation channels into the weights, which a scale per column can take.

    x W = (x / s) (s W)

The division by s goes into what computes x: the scale and bias of a layer normalization, or the value projection of an
attention, whose outputs are sums of its values. Nothing is added to the graph, and it computes the same in fp32.

Xiao et al., SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models, arXiv 2211.10438.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .calibration import Statistics
from .linear import LinearLayer, is_constant, linear_layers, remove_unused_initializers, values

# SmoothQuant's alpha: 0 leaves the spread in the activations, 1 moves all of it into the weights. The higher, the nearer every
# channel comes to the ends of the range, and the sooner what calibration did not see is clipped.
STRENGTH = 0.5
_NORMS = {"LayerNormalization", "SkipLayerNormalization"}
# Operators between an attention and its projections that move rows, never channels.
_ROW_MOVERS = {"Concat", "Slice"}
SUFFIX = ".smoothed"

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Scaled:
    """A value of the fp32 graph that the converted graph has multiplied by a factor per channel.

    Attributes:
        name: in the converted graph.
        factors: [channels].
    """

    name: str
    factors: Vector


@dataclass(frozen=True)
class Smoothed:
    """A smoothed graph.

    Attributes:
        statistics: of the graph as it is now. Values that changed have ".smoothed" after their name.
        scaled: name in the fp32 graph -> results of linear layers that changed.
    """

    statistics: dict[str, Statistics]
    scaled: dict[str, Scaled]


def smooth(model: ir.Model, statistics: Mapping[str, Statistics], strength: float = STRENGTH) -> Smoothed:
    """Smooth the inputs of linear layers in place, where what computes them can take the factors.

    Args:
        model: an fp32 graph.
        statistics: of the inputs of linear layers.
        strength: SmoothQuant's alpha, from 0 to 1.
    """
    current = dict(statistics)
    scaled: dict[str, Scaled] = {}
    readers: dict[ir.Value, list[LinearLayer]] = {}
    layers = linear_layers(model)
    for layer in layers:
        readers.setdefault(layer.input, []).append(layer)
    for x, group in readers.items():
        source = _source(x, group, layers)
        if source is None or x.name not in current:
            continue
        observed = current.pop(x.name or "")
        rows = np.max([np.abs(layer.matrix()).max(axis=1) for layer in group], axis=0)
        factors = smoothing_factors(observed.largest, rows, strength)
        scaled |= source.divide(model.graph, factors)
        for layer in group:
            scale_rows(model.graph, layer, factors)
        current[x.name or ""] = observed.scaled(np.reciprocal(factors))
    remove_unused_initializers(model.graph)
    return Smoothed(current, scaled)


def smoothing_factors(activations: Vector, weights: Vector, strength: float = STRENGTH) -> Vector:
    """s = max|x| ** strength / max|W| ** (1 - strength) per channel [d_in]; 1 where a channel is always zero."""
    factors = np.ones_like(activations)
    used = (activations > 0) & (weights > 0)
    factors[used] = activations[used] ** strength / weights[used] ** (1 - strength)
    return factors


def scale_rows(graph: ir.Graph, layer: LinearLayer, factors: Vector) -> None:
    """Multiply a layer's weights so that it takes its input divided by the factors; that input is renamed."""
    if layer.transposed:
        _scale(graph, layer.nodes[0], 1, columns=factors)
    else:
        _scale(graph, layer.nodes[0], 1, rows=factors)
    if not (layer.input.name or "").endswith(SUFFIX):
        layer.input.name = f"{layer.input.name}{SUFFIX}"


def scale_columns(graph: ir.Graph, layer: LinearLayer, factors: Vector) -> dict[str, Scaled]:
    """Multiply a layer's weights and bias so that its output, which is renamed, is multiplied by the factors; returns it."""
    before = layer.output.name or ""
    for node, index in _parameters(layer):
        if layer.transposed and node.inputs[index] is layer.weight:
            _scale(graph, node, index, rows=factors)
        else:
            _scale(graph, node, index, columns=factors)
    for node in layer.nodes:
        node.outputs[0].name = f"{node.outputs[0].name}{SUFFIX}"
    return {before: Scaled(layer.output.name or "", factors)}


def _scale(
    graph: ir.Graph, node: ir.Node, index: int, rows: Vector | None = None, columns: Vector | None = None
) -> None:
    """Multiply a node's constant [d_in, d_out] or [d_out]; computed when it is read, so that nothing is held in memory."""
    old = node.inputs[index]
    assert old is not None
    assert old.const_value is not None
    tensor = old.const_value

    def scaled() -> ir.Tensor[NDArray[np.float32]]:
        array = np.asarray(tensor.numpy(), np.float32)
        if rows is not None:
            array = array * rows[:, None]
        if columns is not None:
            array = array * columns
        return ir.Tensor(array)

    lazy = ir.LazyTensor(scaled, ir.DataType.FLOAT, ir.Shape(tensor.shape.numpy()))
    name = old.name or ""
    if name.endswith(SUFFIX):  # scaled before, for this node alone
        old.const_value = lazy
        return
    name = f"{name}{SUFFIX}"
    while name in graph.initializers:  # another node's, which reads the same constant
        name = f"{name}{SUFFIX}"
    lazy.name = name
    value = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=lazy.shape, const_value=lazy)
    graph.register_initializer(value)
    node.replace_input_with(index, value)


@dataclass(frozen=True)
class _Source:
    """Parameters that scale the channels of a value.

    Attributes:
        parameters: nodes and which of their inputs.
        begin: the first of their channels.
        changed: other values that the parameters change.
    """

    parameters: tuple[tuple[ir.Node, int], ...]
    begin: int = 0
    changed: tuple[ir.Value, ...] = ()

    def divide(self, graph: ir.Graph, factors: Vector) -> dict[str, Scaled]:
        scaled = {}
        columns = np.ones(0, np.float32)
        for node, index in self.parameters:
            parameter = node.inputs[index]
            assert parameter is not None
            columns = np.ones(values(parameter).shape[-1], np.float32)
            columns[self.begin : self.begin + len(factors)] = np.reciprocal(factors)
            _scale(graph, node, index, columns=columns)
        for value in self.changed:
            before = value.name or ""
            value.name = f"{before}{SUFFIX}"
            scaled[before] = Scaled(value.name, columns)
        return scaled


def _source(x: ir.Value, readers: Sequence[LinearLayer], layers: Sequence[LinearLayer]) -> _Source | None:
    """What can take the factors of x; None where another node, or the graph's user, reads x too."""
    products = {layer.nodes[0] for layer in readers}
    producer = x.producer()
    if producer is None or x.is_graph_output() or any(consumer not in products for consumer in x.consumers()):
        return None
    if producer.op_type in _NORMS:
        first = 1 if producer.op_type == "LayerNormalization" else 2
        given = [index for index in (first, first + 1) if is_constant(_input(producer, index))]
        return _Source(tuple((producer, index) for index in given))
    attention = before_row_movers(x)
    if attention is None or attention.op_type != "GroupQueryAttention":
        return None
    packed = attention.inputs[0]
    if packed is None or attention.inputs[1] is not None:
        return None
    projection = before_row_movers(packed)
    for layer in layers:
        if layer.nodes[-1] is projection and not layer.transposed:
            width = layer.shape[1] // 3
            return _Source(_parameters(layer), 2 * width, tuple(node.outputs[0] for node in layer.nodes))
    return None


def before_row_movers(x: ir.Value) -> ir.Node | None:
    """What computes x, operators that only move rows left out."""
    node = x.producer()
    while node is not None and node.op_type in _ROW_MOVERS:
        x_before = node.inputs[0]
        assert x_before is not None
        node = x_before.producer()
    return node


def _parameters(layer: LinearLayer) -> tuple[tuple[ir.Node, int], ...]:
    """Where a layer's weights and its bias are inputs."""
    constants = [
        (node, index) for node in layer.nodes for index, value in enumerate(node.inputs) if is_constant(value)
    ]
    return tuple(constants)


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None
