"""Linear layers in an ONNX graph: what every quantization rewrites.

A layer is found by its structure, `MatMul(x, W)` with a constant matrix and perhaps `Add(., b)` with a constant bias, so graphs of other
exporters have them too. A bias that is added elsewhere (BiasGelu, SkipLayerNormalization, MultiHeadAttention) stays there.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgewhisper.errors import BuildError

CONTRIB = "com.microsoft"
_QUANTIZED = {
    "DequantizeLinear", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "GatherBlockQuantized", "MatMulInteger",
    "MatMulIntegerToFloat", "MatMulNBits", "QGemm", "QLinearMatMul", "QuantizeLinear",
}  # fmt: skip


@dataclass(frozen=True)
class LinearLayer:
    """y = x W + b.

    Attributes:
        nodes: the product, and the Add of the bias where that is a node of its own.
        input: x [..., d_in].
        weight: the constant that holds W.
        transposed: the constant is [d_out, d_in] instead of [d_in, d_out].
        bias: b [d_out]; None where there is none, or another operator adds it.
        output: y [..., d_out].
    """

    nodes: tuple[ir.Node, ...]
    input: ir.Value
    weight: ir.Value
    transposed: bool
    bias: ir.Value | None
    output: ir.Value

    @property
    def name(self) -> str:
        """The weight's name, which is the layer's."""
        return self.weight.name or ""

    @property
    def is_table(self) -> bool:
        """Whether it is an output head that multiplies by the token embedding, [vocab_size, d]."""
        return self.transposed and self.nodes[0].op_type == "FusedMatMul"

    @property
    def shape(self) -> tuple[int, int]:
        """(d_in, d_out)."""
        rows, columns = _tensor(self.weight).shape.numpy()
        return (columns, rows) if self.transposed else (rows, columns)

    def matrix(self) -> NDArray[np.float32]:
        """W [d_in, d_out], read at each call."""
        stored = values(self.weight)
        return stored.T if self.transposed else stored

    def replace(self, graph: ir.Graph, nodes: Sequence[ir.Node]) -> None:
        """Compute the layer by other nodes; the last one's first output takes the place and the name of y."""
        old = self.output
        ir.convenience.replace_nodes_and_values(
            graph, self.nodes[-1], self.nodes[::-1], nodes, [old], [nodes[-1].outputs[0]]
        )


def linear_layers(model: ir.Model, kept: Collection[ir.Node] = ()) -> list[LinearLayer]:
    """The linear layers of a graph with fp32 or fp16 weights, in the order of its nodes.

    Args:
        model: the graph.
        kept: nodes that are to stay as they are.

    Raises:
        BuildError: the graph has none but quantized ones.
    """
    candidates = (_layer(node) for node in model.graph if node not in kept)
    layers = [layer for layer in candidates if layer is not None]
    quantized = next((node.op_type for node in model.graph if node.op_type in _QUANTIZED), None)
    if quantized is not None and not layers:
        raise BuildError(
            f"graph '{model.graph.name}': already quantized (it has {quantized}); start from an fp32 artifact"
        )
    return layers


def values(constant: ir.Value) -> NDArray[np.float32]:
    """A constant's values in fp32."""
    return np.asarray(_tensor(constant).numpy(), np.float32)


def is_constant(value: ir.Value | None) -> bool:
    """Whether a node's input has the same value in every run."""
    return value is not None and ir.convenience.get_const_tensor(value) is not None


def add_initializer(graph: ir.Graph, name: str, make: Callable[[], NDArray[np.generic]]) -> ir.Value:
    """The initializer `name`; `make` gives its array unless the graph has it already."""
    if name not in graph.initializers:
        tensor = ir.Tensor(np.asarray(make(), order="C"), name=name)
        graph.register_initializer(
            ir.Value(
                name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape), const_value=tensor
            )
        )
    return graph.initializers[name]


def remove_unused_initializers(graph: ir.Graph) -> None:
    """Forget the constants that no node reads any more."""
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]


def _layer(node: ir.Node) -> LinearLayer | None:
    if (node.op_type, node.domain) not in {("MatMul", ""), ("Gemm", ""), ("FusedMatMul", CONTRIB)}:
        return None
    x, weight = node.inputs[:2]
    if x is None or weight is None or is_constant(x) or not is_constant(weight):
        return None
    if len(_tensor(weight).shape) != 2 or not _tensor(weight).dtype.is_floating_point():
        return None
    numbers = {name: attribute.value for name, attribute in node.attributes.items()}
    plain = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transBatchA": 0, "transBatchB": 0}
    if any(numbers.get(name, value) != value for name, value in plain.items()):
        return None
    transposed = bool(numbers.get("transB", 0))
    d_out = _tensor(weight).shape.numpy()[0 if transposed else 1]
    if node.op_type == "Gemm" and len(node.inputs) > 2:
        bias = node.inputs[2]
        if not is_constant(bias) or bias is None or tuple(_tensor(bias).shape.numpy()) != (d_out,):
            return None
        return LinearLayer((node,), x, weight, transposed, bias, node.outputs[0])
    adder, bias = _adder(node.outputs[0], d_out)
    if adder is None:
        return LinearLayer((node,), x, weight, transposed, None, node.outputs[0])
    return LinearLayer((node, adder), x, weight, transposed, bias, adder.outputs[0])


def _adder(product: ir.Value, d_out: int) -> tuple[ir.Node | None, ir.Value | None]:
    """The node that adds a constant bias to a product which nothing else uses, and that bias."""
    consumers = product.consumers()
    if len(consumers) != 1 or consumers[0].op_type != "Add" or product.is_graph_output():
        return None, None
    bias = next((value for value in consumers[0].inputs if value is not product), None)
    if bias is None or not is_constant(bias) or tuple(_tensor(bias).shape.numpy()) != (d_out,):
        return None, None
    return consumers[0], bias


def _tensor(constant: ir.Value) -> ir.TensorProtocol:
    tensor = ir.convenience.get_const_tensor(constant)
    assert tensor is not None
    return tensor
