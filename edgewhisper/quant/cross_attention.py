"""INT8 cross-attention: the encoder writes keys and values in 8 bits, the decoder multiplies them as they are.

    encoder: K [B, T, d] -> QuantizeLinear -> [B, heads, head_dim, T],  V [B, T, d] -> QuantizeLinear -> [B, heads, T, head_dim]
    decoder: softmax(q K^T) V  ->  MatMulIntegerToFloat(uint8(p / max p), V) * max p,  p = softmax(MatMulIntegerToFloat(uint8(q), K))

A decoder step reads all of them: a quarter of the bytes of fp32. One scale per layer is enough, as the spread of the channels moves
into the projections beforehand, which the graph multiplies anyway:

    q . k = (q / s) . (s k),    softmax(.) V W = softmax(.) (V / s) (s W)

Scales are fixed and integer sums are exact, so a row's result does not depend on the other rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgewhisper.errors import BuildError

from .calibration import Statistics
from .linear import CONTRIB, LinearLayer, add_initializer, linear_layers, remove_unused_initializers
from .smoothing import Scaled, scale_columns, scale_rows, smoothing_factors
from .static import affine, quantize_activation
from .targets import NumberFormats


@dataclass(frozen=True)
class CrossAttention:
    """One decoder layer's cross-attention in the two graphs.

    Attributes:
        query: the projection that gives q [B, S, d], scaled by head_dim ** -0.5.
        key, value: the encoder's projections that give K and V [B, T, d].
        output: the projection of what is attended to.
        present_key, present_value: the encoder's outputs.
        past_key, past_value: the decoder's inputs that take them [B, heads, T, head_dim].
        nodes: the decoder's, from q to the input of `output`, in their order.
        heads: number of heads.
        head_dim: width of a head.
    """

    query: LinearLayer
    key: LinearLayer
    value: LinearLayer
    output: LinearLayer
    present_key: ir.Value
    present_value: ir.Value
    past_key: ir.Value
    past_value: ir.Value
    nodes: tuple[ir.Node, ...]
    heads: int
    head_dim: int


@dataclass(frozen=True)
class QuantizedCrossKV:
    """What became of the two graphs.

    Attributes:
        statistics: the decoder's, as they are now.
        encoder, decoder: name in the fp32 graph -> values that are scaled now.
    """

    statistics: dict[str, Statistics]
    encoder: dict[str, Scaled]
    decoder: dict[str, Scaled]


def cross_attentions(encoder: ir.Model, decoder: ir.Model) -> list[CrossAttention]:
    """The cross-attention of every decoder layer.

    Raises:
        BuildError: a graph does not have the form that this project exports, or is quantized already.
    """
    projections = {layer.output: layer for layer in linear_layers(encoder)}
    queries = {layer.output: layer for layer in linear_layers(decoder)}
    outputs = {layer.input: layer for layer in queries.values()}
    present = {value.name: value for value in encoder.graph.outputs}
    past = {value.name: value for value in decoder.graph.inputs}
    found = []
    for name in past:
        if name is None or not name.startswith("past_key_cross_"):
            continue
        names = (name, name.replace("_key_", "_value_"))
        try:
            keys, values = (present[past_name.replace("past_", "present_", 1)] for past_name in names)
            nodes = _attention_nodes(past[names[0]], past[names[1]])
            layers = (
                queries[_computed(nodes[0].inputs[0])],
                projections[_projected(keys)],
                projections[_projected(values)],
                outputs[nodes[-1].outputs[0]],
            )
        except (KeyError, ValueError):
            raise BuildError(
                f"graph '{decoder.graph.name}': '{name}' is not used as in the graphs of this release; "
                "build the fp32 artifact again"
            ) from None
        found.append(
            CrossAttention(
                *layers, keys, values, past[names[0]], past[names[1]], nodes, *_heads(past[names[0]])
            )
        )
    return found


def values_to_observe(encoder: ir.Model, decoder: ir.Model) -> tuple[list[str], list[str]]:
    """The values of the encoder and of the decoder whose statistics `quantize_cross_kv` needs."""
    attentions = cross_attentions(encoder, decoder)
    encoded = [layer.output.name or "" for a in attentions for layer in (a.key, a.value)]
    return encoded, [value.name or "" for a in attentions for value in (a.query.output, a.output.input)]


def quantize_cross_kv(
    encoder: ir.Model,
    decoder: ir.Model,
    encoder_statistics: Mapping[str, Statistics],
    decoder_statistics: Mapping[str, Statistics],
    formats: NumberFormats,
) -> QuantizedCrossKV:
    """Let the encoder write INT8 keys and values, and the decoder read them, in place. Comes before other passes.

    Args:
        encoder: an fp32 graph.
        decoder: an fp32 graph.
        encoder_statistics: of the values that `values_to_observe` names, like
        decoder_statistics: and perhaps of other values.
        formats: the target's.

    Raises:
        BuildError: a graph does not have the form that this project exports, or is quantized already.
    """
    statistics = dict(decoder_statistics)
    encoded: dict[str, Scaled] = {}
    decoded: dict[str, Scaled] = {}
    for attention in cross_attentions(encoder, decoder):
        query, attended = attention.query.output, attention.output.input
        key_statistics = encoder_statistics[attention.key.output.name or ""]
        value_statistics = encoder_statistics[attention.value.output.name or ""]
        query_statistics = statistics.pop(query.name or "")
        attended_statistics = statistics.pop(attended.name or "")

        by_query = smoothing_factors(query_statistics.largest, key_statistics.largest)
        decoded |= scale_columns(decoder.graph, attention.query, np.reciprocal(by_query))
        (key,) = scale_columns(encoder.graph, attention.key, by_query)
        query_statistics = query_statistics.scaled(np.reciprocal(by_query))
        key_scale, name = _write(
            encoder.graph, attention.present_key, key_statistics.scaled(by_query), formats
        )
        encoded[key] = Scaled(name, by_query / key_scale)

        rows = np.abs(attention.output.matrix()).max(axis=1)
        by_value = smoothing_factors(value_statistics.largest, rows)
        (value,) = scale_columns(encoder.graph, attention.value, np.reciprocal(by_value))
        scale_rows(decoder.graph, attention.output, by_value)
        value_scale, name = _write(
            encoder.graph, attention.present_value, value_statistics.scaled(np.reciprocal(by_value)), formats
        )
        encoded[value] = Scaled(name, np.reciprocal(by_value * value_scale))

        _transpose_keys(attention)
        _read(decoder.graph, attention, query_statistics, key_scale, value_scale, formats)
        statistics[attended.name or ""] = attended_statistics.scaled(np.reciprocal(by_value))
    for model in (encoder, decoder):
        remove_unused_initializers(model.graph)
    decoder.graph.opset_imports.setdefault(CONTRIB, 1)
    return QuantizedCrossKV(statistics, encoded, decoded)


def _attention_nodes(past_key: ir.Value, past_value: ir.Value) -> tuple[ir.Node, ...]:
    """The nodes between the query projection and the output projection; ValueError where they are others."""
    (keys,) = past_key.consumers()
    (scores,) = keys.outputs[0].consumers()
    (softmax,) = scores.outputs[0].consumers()
    (values,) = past_value.consumers()
    (attended,) = softmax.outputs[0].consumers()
    (transposed,) = attended.outputs[0].consumers()
    (joined,) = transposed.outputs[0].consumers()
    rows = _producer(scores.inputs[0])
    split = _producer(rows.inputs[0])
    nodes = (split, rows, keys, scores, softmax, values, attended, transposed, joined)
    types = [node.op_type for node in nodes]
    expected = [
        "Reshape",
        "Transpose",
        "Reshape",
        "FusedMatMul",
        "Softmax",
        "Reshape",
        "MatMul",
        "Transpose",
        "Reshape",
    ]
    if types != expected:
        raise ValueError(types)
    return nodes


def _heads(past_key: ir.Value) -> tuple[int, int]:
    assert past_key.shape is not None
    _, heads, _, head_dim = past_key.shape
    assert isinstance(heads, int)
    assert isinstance(head_dim, int)
    return heads, head_dim


def _projected(present: ir.Value) -> ir.Value:
    """The projection [B, T, d] whose heads an output of the encoder has."""
    transpose = _producer(present)
    split = _producer(transpose.inputs[0])
    if (transpose.op_type, split.op_type) != ("Transpose", "Reshape"):
        raise ValueError(present.name)
    return _computed(split.inputs[0])


def _producer(value: ir.Value | None) -> ir.Node:
    node = _computed(value).producer()
    if node is None:
        raise ValueError("not computed")
    return node


def _computed(value: ir.Value | None) -> ir.Value:
    if value is None:
        raise ValueError("left out")
    return value


def _write(
    graph: ir.Graph, present: ir.Value, statistics: Statistics, formats: NumberFormats
) -> tuple[np.float32, str]:
    """Round an output of the encoder to int8 before its heads are split; returns the scale and the rounded value's name."""
    split = _producer(_producer(present).inputs[0])
    projected = split.inputs[0]
    assert projected is not None
    bound = np.float32(statistics.largest.max()) or np.float32(1)
    scale = bound / np.float32(formats.weight_limit)
    name = f"{projected.name}.int8"
    scale_value = add_initializer(graph, f"{name}.scale", lambda: np.asarray(scale))
    zero_point = add_initializer(graph, f"{name}.zero_point", lambda: np.zeros((), np.int8))
    # QuantizeLinear alone would let -128 through: two products of it by -128, which signed activations have, overflow 16 bits
    # on Arm without dot products; 7-bit weights have a limit of their own.
    if formats.weight_limit < np.iinfo(np.int8).max or formats.activation is np.int8:
        low = add_initializer(graph, f"{name}.low", lambda: np.asarray(-bound))
        high = add_initializer(graph, f"{name}.high", lambda: np.asarray(bound))
        clip = ir.node("Clip", [projected, low, high], name=f"{projected.name}.clip")
        clip.outputs[0].name = f"{projected.name}.clipped"
        graph.insert_before(split, clip)
        projected = clip.outputs[0]
    node = ir.node("QuantizeLinear", [projected, scale_value, zero_point], name=f"{projected.name}.quantize")
    node.outputs[0].name = name
    graph.insert_before(split, node)
    split.replace_input_with(0, node.outputs[0])
    present.type = ir.TensorType(ir.DataType.INT8)
    return np.float32(scale), name


def _transpose_keys(attention: CrossAttention) -> None:
    """Keys as the product reads them, [B, heads, head_dim, T]."""
    _producer(attention.present_key).attributes["perm"] = ir.AttrInt64s("perm", [0, 2, 3, 1])
    for keys in (attention.present_key, attention.past_key):
        assert keys.shape is not None
        batch, heads, positions, head_dim = keys.shape
        keys.shape = ir.Shape([batch, heads, head_dim, positions])
    for past in (attention.past_key, attention.past_value):
        past.type = ir.TensorType(ir.DataType.INT8)


def _read(
    graph: ir.Graph, attention: CrossAttention, query: Statistics, key_scale: np.float32, value_scale: np.float32,
    formats: NumberFormats,
) -> None:  # fmt: skip
    """Put products of integers in the place of the decoder's fp32 products."""
    heads, head_dim = attention.heads, attention.head_dim
    name = f"{attention.output.name}.attention"

    def constant(key: str, value: object, dtype: type[np.generic]) -> ir.Value:
        return add_initializer(graph, f"{name}.{key}", lambda: np.asarray(value, dtype))

    nodes: list[ir.Node] = []

    def op(
        op_type: str, step: str, *inputs: ir.Value, domain: str = "", **attributes: int | list[int]
    ) -> ir.Value:
        node = ir.node(op_type, inputs, attributes, domain=domain, name=f"{name}.{step}")
        node.outputs[0].name = f"{name}.{step}"
        nodes.append(node)
        return node.outputs[0]

    q = quantize_activation(graph, attention.query.output, *query.range("minmax"), formats)
    unit_scale, unit_zero = affine(0.0, 1.0, formats)
    unit = add_initializer(graph, "unit.scale", lambda: unit_scale)
    zero = add_initializer(graph, "unit.zero_point", lambda: unit_zero)
    split = op("Reshape", "split", q.values, constant("heads", [0, 0, heads, head_dim], np.int64))
    rows = op("Transpose", "rows", split, perm=[0, 2, 1, 3])  # [B, heads, S, head_dim]
    scores = op(
        "MatMulIntegerToFloat", "scores", rows, attention.past_key, q.scale,
        constant("key_scale", key_scale, np.float32), q.zero_point, domain=CONTRIB,
    )  # fmt: skip
    probabilities = op("Softmax", "softmax", scores, axis=-1)
    # Attention over many positions leaves each a probability that one scale for all rows would round to zero.
    largest = op("ReduceMax", "largest", probabilities, constant("positions", [-1], np.int64))
    # One division per row: ONNX Runtime multiplies several times as fast as it divides.
    relative = op("Mul", "relative", probabilities, op("Reciprocal", "inverse", largest))
    weights = op("QuantizeLinear", "weights", relative, unit, zero)
    weighted = op(
        "MatMulIntegerToFloat", "weighted", weights, attention.past_value, unit,
        constant("value_scale", value_scale, np.float32), zero, domain=CONTRIB,
    )  # fmt: skip
    attended = op("Mul", "attended", weighted, largest)
    joined = op("Transpose", "joined", attended, perm=[0, 2, 1, 3])
    result = op("Reshape", "result", joined, constant("width", [0, 0, heads * head_dim], np.int64))
    old = attention.nodes
    ir.convenience.replace_nodes_and_values(graph, old[-1], old[::-1], nodes, [old[-1].outputs[0]], [result])
