"""Dynamic INT8: x W -> MatMulIntegerToFloat(DynamicQuantizeLinear(x), W8), with the range of x taken from x at each run.

Nothing has to be calibrated, but one range spans all positions of x: what a position becomes depends on the others.

`DynamicQuantizeLinear` gives uint8 on every target. The x86 instructions multiply uint8 by int8. On Arm, ONNX Runtime packs the int8
weights as uint8 once, when the session loads, and multiplies by `udot`, which is as fast as `sdot` of two signed operands; no board
has measured it yet.
"""

from collections.abc import Collection, Sequence

import onnx_ir as ir

from .linear import CONTRIB, LinearLayer, add_initializer, linear_layers, remove_unused_initializers
from .static import quantize_columns
from .table import table_product
from .targets import NumberFormats


def quantize_dynamic(model: ir.Model, formats: NumberFormats, kept: Collection[ir.Node] = ()) -> None:
    """Replace every product with a constant matrix by an INT8 product, in place.

    Weights get a scale per output channel. Layers that read the same value share its quantization; a bias that is added on its own
    moves into the product. Nodes in `kept` stay as they are.

    Raises:
        BuildError: the graph is quantized already.
    """
    inputs: dict[ir.Value, Sequence[ir.Value]] = {}
    for layer in linear_layers(model, kept):
        x = layer.nodes[0].inputs[0]  # not layer.input: the node that made it may have been replaced
        assert x is not None
        if x not in inputs:
            inputs[x] = _quantize(model.graph, x, layer.nodes[0])
        layer.replace(model.graph, _product(model.graph, layer, inputs[x], formats))
        remove_unused_initializers(model.graph)
    model.graph.opset_imports.setdefault(CONTRIB, 1)


def _quantize(graph: ir.Graph, x: ir.Value, reader: ir.Node) -> Sequence[ir.Value]:
    """x as uint8, its scale and its zero point, computed just before the first node that reads them."""
    node = ir.node("DynamicQuantizeLinear", [x], num_outputs=3, name=f"{x.name}.quantize")
    for value, suffix in zip(node.outputs, ("", ".scale", ".zero_point"), strict=True):
        value.name = f"{x.name}.uint8{suffix}"
    graph.insert_before(reader, node)
    return node.outputs


def _product(
    graph: ir.Graph, layer: LinearLayer, quantized: Sequence[ir.Value], formats: NumberFormats
) -> list[ir.Node]:
    values, scale, zero_point = quantized
    if layer.is_table:
        return table_product(graph, layer, values, scale, zero_point, formats)
    name = f"{layer.name}.int8"
    if name not in graph.initializers:  # nodes can share a weight
        integers, column_scales = quantize_columns(layer.matrix(), formats.weight_limit)
        add_initializer(graph, name, lambda: integers)
        add_initializer(graph, f"{name}.scale", lambda: column_scales)
    weight, weight_scale = graph.initializers[name], graph.initializers[f"{name}.scale"]
    inputs = [values, weight, scale, weight_scale, zero_point, None, layer.bias]
    if layer.bias is None:
        inputs = inputs[:5]
    return [ir.node("MatMulIntegerToFloat", inputs, domain=CONTRIB, name=f"{layer.output.name}.product")]
