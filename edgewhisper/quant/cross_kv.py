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
from numpy.typing import NDArray

from edgewhisper.errors import BuildError

from .calibration import Statistics
from .cross_attention import Reader, Writer, producer_of, readers, writers
from .linear import CONTRIB, add_initializer, remove_unused_initializers
from .smoothing import Scaled, scale_columns, scale_rows, smoothing_factors
from .static import affine, quantize_activation
from .targets import NumberFormats


@dataclass(frozen=True)
class CrossKVScales:
    """How keys and values of one decoder layer are stored: k8 = k * by_query / key_scale, v8 = v / by_value / value_scale.

    Attributes:
        by_query, by_value: per channel [d].
        key_scale, value_scale: of all channels.
    """

    by_query: NDArray[np.float32]
    by_value: NDArray[np.float32]
    key_scale: np.float32
    value_scale: np.float32


@dataclass(frozen=True)
class QuantizedCrossKV:
    """What became of the two graphs.

    Attributes:
        statistics: the decoder's, as they are now.
        encoder, decoder: name in the fp32 graph -> values that are scaled now.
        scales: by the number of keys and values, for other decoders that read them.
    """

    statistics: dict[str, Statistics]
    encoder: dict[str, Scaled]
    decoder: dict[str, Scaled]
    scales: dict[int, CrossKVScales]


def quantize_cross_kv(
    encoder: ir.Model,
    decoder: ir.Model,
    encoder_statistics: Mapping[str, Statistics],
    decoder_statistics: Mapping[str, Statistics],
    formats: NumberFormats,
    draft: ir.Model | None = None,
    draft_statistics: Mapping[str, Statistics] | None = None,
) -> QuantizedCrossKV:
    """Let the encoder write INT8 keys and values, and the decoder read them, in place. Comes before other passes.

    Args:
        encoder: an fp32 graph.
        decoder: an fp32 graph.
        encoder_statistics: of the values that `encoder_values_to_observe` names,
        decoder_statistics: of those that `decoder_values_to_observe` names, and perhaps of others.
        formats: the target's.
        draft: an fp32 graph that reads keys and values too, some perhaps that the decoder does not; left as it is.
        draft_statistics: of its values.

    Raises:
        BuildError: a graph does not have the form that this project exports, or is quantized already.
    """
    encoded: dict[str, Scaled] = {}
    scales: dict[int, CrossKVScales] = {}
    graphs = [(decoder, decoder_statistics)]
    if draft is not None and draft_statistics is not None:
        graphs.insert(0, (draft, draft_statistics))
    # The decoder's come last: what it reads is scaled for it.
    reading = {reader.number: (reader, found) for graph, found in graphs for reader in readers(graph)}
    for writer in writers(encoder):
        reader, reader_statistics = _reader_of(encoder, writer, reading)
        key_statistics = encoder_statistics[writer.key.output.name or ""]
        value_statistics = encoder_statistics[writer.value.output.name or ""]
        query_statistics = reader_statistics[reader.query.output.name or ""]
        by_query = smoothing_factors(query_statistics.largest, key_statistics.largest)
        rows = np.abs(reader.output.matrix()).max(axis=1)
        by_value = smoothing_factors(value_statistics.largest, rows)

        (key,) = scale_columns(encoder.graph, writer.key, by_query)
        key_scale, name = _write(encoder.graph, writer.present_key, key_statistics.scaled(by_query), formats)
        encoded[key] = Scaled(name, by_query / key_scale)
        (value,) = scale_columns(encoder.graph, writer.value, np.reciprocal(by_value))
        value_scale, name = _write(
            encoder.graph, writer.present_value, value_statistics.scaled(np.reciprocal(by_value)), formats
        )
        encoded[value] = Scaled(name, np.reciprocal(by_value * value_scale))
        _transpose(writer.present_key)
        transposed = producer_of(writer.present_key)
        transposed.attributes["perm"] = ir.AttrInt64s("perm", [0, 2, 3, 1])
        scales[reader.number] = CrossKVScales(by_query, by_value, key_scale, value_scale)
    remove_unused_initializers(encoder.graph)
    statistics, decoded = read_cross_kv(decoder, scales, decoder_statistics, formats)
    return QuantizedCrossKV(statistics, encoded, decoded, scales)


def _reader_of(
    encoder: ir.Model, writer: Writer, reading: Mapping[int, tuple[Reader, Mapping[str, Statistics]]]
) -> tuple[Reader, Mapping[str, Statistics]]:
    if writer.number not in reading:
        raise BuildError(
            f"graph '{encoder.graph.name}': no decoder reads keys and values {writer.number}; build the fp32 artifact again"
        )
    return reading[writer.number]


def read_cross_kv(
    decoder: ir.Model,
    scales: Mapping[int, CrossKVScales],
    statistics: Mapping[str, Statistics],
    formats: NumberFormats,
) -> tuple[dict[str, Statistics], dict[str, Scaled]]:
    """Let a decoder read the INT8 keys and values that the encoder writes, in place.

    Args:
        decoder: an fp32 graph; the main one, or a draft that reads the same keys and values.
        scales: how they are stored.
        statistics: of the decoder's values.
        formats: the target's.

    Returns:
        The statistics as they are now, and name in the fp32 graph -> values that are scaled now.

    Raises:
        BuildError: the graph does not have the form that this project exports, or is quantized already.
    """
    statistics = dict(statistics)
    scaled: dict[str, Scaled] = {}
    for reader in readers(decoder):
        stored = scales[reader.number]
        query_statistics = statistics.pop(reader.query.output.name or "")
        attended_statistics = statistics.pop(reader.output.input.name or "")
        scaled |= scale_columns(decoder.graph, reader.query, np.reciprocal(stored.by_query))
        attended = reader.output.input
        scale_rows(decoder.graph, reader.output, stored.by_value)
        for past in (reader.past_key, reader.past_value):
            past.type = ir.TensorType(ir.DataType.INT8)
        _transpose(reader.past_key)
        _read(
            decoder.graph, reader, query_statistics.scaled(np.reciprocal(stored.by_query)),
            stored.key_scale, stored.value_scale, formats,
        )  # fmt: skip
        statistics[attended.name or ""] = attended_statistics.scaled(np.reciprocal(stored.by_value))
    remove_unused_initializers(decoder.graph)
    decoder.graph.opset_imports.setdefault(CONTRIB, 1)
    return statistics, scaled


def _transpose(keys: ir.Value) -> None:
    """Keys as the product reads them, [B, heads, head_dim, T]."""
    assert keys.shape is not None
    batch, heads, positions, head_dim = keys.shape
    keys.shape = ir.Shape([batch, heads, head_dim, positions])


def _write(
    graph: ir.Graph, present: ir.Value, statistics: Statistics, formats: NumberFormats
) -> tuple[np.float32, str]:
    """Round an output of the encoder to int8 before its heads are split; returns the scale and the rounded value's name."""
    split = producer_of(producer_of(present).inputs[0])
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


def _read(
    graph: ir.Graph, reader: Reader, query: Statistics, key_scale: np.float32, value_scale: np.float32,
    formats: NumberFormats,
) -> None:  # fmt: skip
    """Put products of integers in the place of the decoder's fp32 products."""
    heads, head_dim = reader.heads, reader.head_dim
    name = f"{reader.output.name}.attention"

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

    q = quantize_activation(graph, reader.query.output, *query.range("minmax"), formats)
    unit_scale, unit_zero = affine(0.0, 1.0, formats)
    unit = add_initializer(graph, "unit.scale", lambda: unit_scale)
    zero = add_initializer(graph, "unit.zero_point", lambda: unit_zero)
    split = op("Reshape", "split", q.values, constant("heads", [0, 0, heads, head_dim], np.int64))
    rows = op("Transpose", "rows", split, perm=[0, 2, 1, 3])  # [B, heads, S, head_dim]
    scores = op(
        "MatMulIntegerToFloat", "scores", rows, reader.past_key, q.scale,
        constant("key_scale", key_scale, np.float32), q.zero_point, domain=CONTRIB,
    )  # fmt: skip
    probabilities = op("Softmax", "softmax", scores, axis=-1)
    # Attention over many positions leaves each a probability that one scale for all rows would round to zero.
    largest = op("ReduceMax", "largest", probabilities, constant("positions", [-1], np.int64))
    # One division per row: ONNX Runtime multiplies several times as fast as it divides.
    relative = op("Mul", "relative", probabilities, op("Reciprocal", "inverse", largest))
    weights = op("QuantizeLinear", "weights", relative, unit, zero)
    weighted = op(
        "MatMulIntegerToFloat", "weighted", weights, reader.past_value, unit,
        constant("value_scale", value_scale, np.float32), zero, domain=CONTRIB,
    )  # fmt: skip
    attended = op("Mul", "attended", weighted, largest)
    joined = op("Transpose", "joined", attended, perm=[0, 2, 1, 3])
    result = op("Reshape", "result", joined, constant("width", [0, 0, heads * head_dim], np.int64))
    old = reader.nodes
    ir.convenience.replace_nodes_and_values(graph, old[-1], old[::-1], nodes, [old[-1].outputs[0]], [result])
