"""New nodes for a graph that a pass rewrites."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Attribute = int | float | str | Sequence[int]
CONTRIB = "com.microsoft"


class NodeWriter:
    """Collects the nodes that replace others; small vocabulary over onnx_ir. `prefix` begins their names."""

    def __init__(self, graph: ir.Graph, prefix: str) -> None:
        self._graph = graph
        self._prefix = prefix
        self.nodes: list[ir.Node] = []

    def op(
        self, op_type: str, *inputs: ir.Value | None, domain: str = "", **attributes: Attribute
    ) -> ir.Value:
        """Add a node with one result."""
        return self.op_many(op_type, 1, *inputs, domain=domain, **attributes)[0]

    def op_many(
        self, op_type: str, outputs: int, *inputs: ir.Value | None, domain: str = "", **attributes: Attribute
    ) -> Sequence[ir.Value]:
        """Add a node with several results."""
        name = f"{self._prefix}.{op_type}_{len(self.nodes)}"
        node = ir.node(op_type, inputs, attributes, domain=domain, num_outputs=outputs, name=name)
        for index, value in enumerate(node.outputs):
            value.name = name if outputs == 1 else f"{name}_{index}"
        self.nodes.append(node)
        if domain and domain not in self._graph.opset_imports:
            self._graph.opset_imports[domain] = 1
        return node.outputs

    def constant(self, name: str, array: NDArray[np.generic]) -> ir.Value:
        """An initializer; one of this name is used again."""
        if name not in self._graph.initializers:
            tensor = ir.Tensor(np.ascontiguousarray(array), name=name)
            value = ir.Value(
                name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape), const_value=tensor
            )
            self._graph.register_initializer(value)
        return self._graph.initializers[name]

    def integers(self, *values: int) -> ir.Value:
        """A small constant list of int64."""
        return self.constant(f"winograd.int64.{'_'.join(map(str, values))}", np.array(values, np.int64))

    def integer(self, value: int) -> ir.Value:
        """A constant int64 scalar."""
        return self.constant(f"winograd.int64.scalar.{value}", np.array(value, np.int64))
