"""Static INT8: activations rounded by fixed scales, weights by a scale per column.

    MatMul(x, W) [. Add(b)]  ->  MatMulIntegerToFloat(QuantizeLinear(x), W in int8, scales [, b])

Only products of linear layers change; sums and normalizations stay in fp32, as Whisper's residual stream has outliers that 256
levels cannot span. A scale that is fixed makes every row independent of the others in its step, and integer sums are exact.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgewhisper.errors import BuildError

from .calibration import RangeMethod, Statistics
from .linear import CONTRIB, LinearLayer, add_initializer, linear_layers, remove_unused_initializers
from .smoothing import STRENGTH, Scaled, smooth
from .table import table_product
from .targets import NumberFormats


@dataclass(frozen=True)
class StaticOptions:
    """How activations get their scales.

    Attributes:
        range_method: which values a scale holds; the others are clipped.
        smoothing: SmoothQuant's alpha; None leaves activations as they are.
    """

    range_method: RangeMethod = "minmax"
    smoothing: float | None = STRENGTH


def inputs_to_observe(model: ir.Model) -> list[str]:
    """The values whose statistics `quantize_static` needs.

    Raises:
        BuildError: the graph is quantized already.
    """
    return list(dict.fromkeys(layer.input.name or "" for layer in linear_layers(model)))


def quantize_static(
    model: ir.Model, statistics: Mapping[str, Statistics], formats: NumberFormats, options: StaticOptions
) -> dict[str, Scaled]:
    """Quantize every linear layer in place.

    Args:
        model: an fp32 graph.
        statistics: of the values that `inputs_to_observe` names.
        formats: the target's.
        options: how scales are chosen.

    Returns:
        Name in the fp32 graph -> values that smoothing has scaled.

    Raises:
        BuildError: a value was not observed, or the graph is quantized already.
    """
    graph = model.graph
    missing = [name for name in inputs_to_observe(model) if name not in statistics]
    if missing:
        raise BuildError(
            f"graph '{graph.name}': '{missing[0]}' was not observed; calibrate with this graph's values"
        )
    scaled: dict[str, Scaled] = {}
    if options.smoothing is not None:
        smoothed = smooth(model, statistics, options.smoothing)
        statistics, scaled = smoothed.statistics, smoothed.scaled
    for layer in linear_layers(model):
        low, high = statistics[layer.input.name or ""].range(options.range_method)
        quantized = quantize_activation(graph, layer.input, low, high, formats)
        layer.replace(graph, _product(graph, layer, quantized, formats))
        remove_unused_initializers(graph)
    graph.opset_imports.setdefault(CONTRIB, 1)
    return scaled


@dataclass(frozen=True)
class QuantizedValue:
    """An activation in 8 bits: real = (values - zero_point) * scale."""

    values: ir.Value
    scale: ir.Value
    zero_point: ir.Value


def quantize_activation(
    graph: ir.Graph, x: ir.Value, low: float, high: float, formats: NumberFormats
) -> QuantizedValue:
    """Round x to 8 bits that span low .. high; every reader of x shares one QuantizeLinear."""
    scale, zero_point = affine(low, high, formats)
    names = f"{x.name}.int8"
    scale_value = add_initializer(graph, f"{names}.scale", lambda: scale)
    zero_value = add_initializer(graph, f"{names}.zero_point", lambda: zero_point)
    for consumer in x.consumers():
        if consumer.op_type == "QuantizeLinear" and consumer.inputs[1] is scale_value:
            return QuantizedValue(consumer.outputs[0], scale_value, zero_value)
    node = ir.node("QuantizeLinear", [x, scale_value, zero_value], name=f"{x.name}.quantize")
    node.outputs[0].name = names
    producer = x.producer()
    if producer is None:
        graph.insert_before(graph[0], node)
    else:
        graph.insert_after(producer, node)
    return QuantizedValue(node.outputs[0], scale_value, zero_value)


def affine(
    low: float, high: float, formats: NumberFormats
) -> tuple[NDArray[np.float32], NDArray[np.uint8 | np.int8]]:
    """Scale and zero point with which 8 bits span low .. high, which includes zero."""
    info = np.iinfo(formats.activation)
    # A value that is always zero has no range; any scale holds it.
    scale = np.float32((high - low) / (info.max - info.min)) or np.float32(1)
    zero_point = np.clip(np.rint(info.min - low / scale), info.min, info.max)
    return np.asarray(scale, np.float32), np.asarray(zero_point, formats.activation)


def quantize_columns(matrix: NDArray[np.float32], limit: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """W [d_in, d_out] as int8 and a scale per column; magnitudes are at most `limit`."""
    scales = np.abs(matrix).max(axis=0) / np.float32(limit)
    scales[scales == 0] = 1  # a column of zeros
    return np.rint(matrix / scales).astype(np.int8), scales


def _product(graph: ir.Graph, layer: LinearLayer, x: QuantizedValue, formats: NumberFormats) -> list[ir.Node]:
    if layer.is_table:
        return table_product(graph, layer, x.values, x.scale, x.zero_point, formats)
    values, scales = quantize_columns(layer.matrix(), formats.weight_limit)
    name = f"{layer.name}.int8"
    weight = add_initializer(graph, name, lambda: values)
    weight_scales = add_initializer(graph, f"{name}.scale", lambda: scales)
    inputs = [x.values, weight, x.scale, weight_scales, x.zero_point, None, layer.bias]
    if layer.bias is None:
        inputs = inputs[:5]
    return [ir.node("MatMulIntegerToFloat", inputs, domain=CONTRIB, name=f"{layer.output.name}.product")]
