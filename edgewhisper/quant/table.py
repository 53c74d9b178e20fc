"""Whisper's token embedding, which is its output head too: INT8 rows with a scale each, stored once.

    FusedMatMul(x, T, transB=1)  ->  Reshape . QGemm(QuantizeLinear(x), T in int8, a scale per row, transB=1) . Reshape

QGemm reads the table row by row [vocab_size, d], as it lies in the file and as the runtime reads the rows of its tokens.
"""

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .linear import CONTRIB, LinearLayer, add_initializer
from .targets import NumberFormats


def table_product(
    graph: ir.Graph,
    layer: LinearLayer,
    x: ir.Value,
    scale: ir.Value,
    zero_point: ir.Value,
    formats: NumberFormats,
) -> list[ir.Node]:
    """The nodes that multiply by a table.

    Args:
        graph: gets the table's tensors, "TABLE.int8" and "TABLE.int8.scale" after the fp32 tensor's name.
        layer: y = x T^T.
        x: [B, S, d_in] in 8 bits, with scale and zero point.
        scale: of x.
        zero_point: of x.
        formats: the target's.
    """
    d_in, d_out = layer.shape
    rows, scales = quantize_rows(layer.matrix().T, formats.weight_limit)
    name = f"{layer.name}.int8"
    table = add_initializer(graph, name, lambda: rows)
    row_scales = add_initializer(graph, f"{name}.scale", lambda: scales)
    zeros = add_initializer(graph, f"{name}.zero_point", lambda: np.zeros(d_out, np.int8))
    flat_shape = add_initializer(graph, f"{name}.flat", lambda: np.array([-1, d_in], np.int64))
    flat = ir.node("Reshape", [x, flat_shape], name=f"{name}.flatten")
    product = ir.node(
        "QGemm", [flat.outputs[0], scale, zero_point, table, row_scales, zeros, layer.bias],
        {"transB": 1}, domain=CONTRIB, name=f"{name}.product",
    )  # fmt: skip
    shape = ir.node("Shape", [x], {"start": 0, "end": 2}, name=f"{name}.shape")
    width = add_initializer(graph, f"{name}.width", lambda: np.array([d_out], np.int64))
    full = ir.node("Concat", [shape.outputs[0], width], {"axis": 0}, name=f"{name}.full_shape")
    logits = ir.node("Reshape", [product.outputs[0], full.outputs[0]], name=f"{name}.unflatten")
    for node in (flat, product, shape, full):
        node.outputs[0].name = f"{node.name}.result"
    return [flat, product, shape, full, logits]


def quantize_rows(table: NDArray[np.float32], limit: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """T [vocab_size, d] as int8 and a scale per row; magnitudes are at most `limit`."""
    scales = np.abs(table).max(axis=1) / np.float32(limit)
    scales[scales == 0] = 1  # a row of zeros
    return np.rint(table / scales[:, None]).astype(np.int8), scales
