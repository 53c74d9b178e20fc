"""INT8 self-attention cache: a quarter of the memory, rounded as tokens are written into it.

    GroupQueryAttention(qkv, past in fp32)  ->  GroupQueryAttention(qkv, past in int8, a scale for keys, one for values)

Scales are fixed, so a row's result does not depend on the other rows. Needs ONNX Runtime 1.31, which brought caches in INT8.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .calibration import Statistics
from .linear import add_initializer
from .smoothing import Scaled, before_row_movers

MIN_ONNXRUNTIME = "1.31.0"
_KEY_SCALE, _VALUE_SCALE = 12, 13  # inputs of the operator
_LEVELS = np.float32(127)


def values_to_observe(decoder: ir.Model) -> list[str]:
    """The values of an fp32 decoder, queries, keys and values side by side [B, S, 3 d], whose statistics the pass needs."""
    return [_projected(node) for node in _attentions(decoder)]


def quantize_self_kv(
    decoder: ir.Model,
    observed: Sequence[str],
    statistics: Mapping[str, Statistics],
    scaled: Mapping[str, Scaled],
) -> None:
    """Let the self-attention of a decoder keep its keys and values in INT8, in place. Comes after other passes.

    Args:
        decoder: the graph, quantized or not.
        observed: what `values_to_observe` named in the fp32 graph.
        statistics: of those values.
        scaled: name in the fp32 graph -> values that other passes have scaled.
    """
    graph = decoder.graph
    for node, name in zip(_attentions(decoder), observed, strict=True):
        largest = statistics[name].largest
        if name in scaled:
            largest = largest * scaled[name].factors
        _, keys, values = np.split(largest, 3)
        node.resize_inputs(_VALUE_SCALE + 1)
        for index, channels, what in ((_KEY_SCALE, keys, "key"), (_VALUE_SCALE, values, "value")):
            scale = np.array([channels.max() / _LEVELS or 1], np.float32)
            node.replace_input_with(index, _scale(graph, f"{node.name}.{what}_scale", scale))
        for kind in ("k_quant_type", "v_quant_type"):
            node.attributes.add(ir.AttrString(kind, "PER_TENSOR"))
        node.attributes.add(ir.AttrInt64("kv_cache_bit_width", 8))
        for cache in (*node.inputs[3:5], *node.outputs[1:3]):
            assert cache is not None
            cache.type = ir.TensorType(ir.DataType.INT8)


def _attentions(decoder: ir.Model) -> list[ir.Node]:
    return [node for node in decoder.graph if node.op_type == "GroupQueryAttention"]


def _projected(node: ir.Node) -> str:
    packed = node.inputs[0]
    assert packed is not None
    projection = before_row_movers(packed)
    assert projection is not None
    return projection.outputs[0].name or ""


def _scale(graph: ir.Graph, name: str, scale: NDArray[np.float32]) -> ir.Value:
    return add_initializer(graph, name, lambda: scale)
