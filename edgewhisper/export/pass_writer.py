"""New nodes for a graph that a pass rewrites."""

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .nodes import NodeWriter


class PassWriter(NodeWriter):
    """Collects the nodes that replace others; small vocabulary over onnx_ir. `prefix` begins their names."""

    def __init__(self, graph: ir.Graph, prefix: str) -> None:
        self._graph = graph
        self._prefix = prefix
        self.nodes: list[ir.Node] = []

    def _next_name(self, op_type: str) -> str:
        return f"{self._prefix}.{op_type}_{len(self.nodes)}"

    def _add(self, node: ir.Node) -> None:
        self.nodes.append(node)
        if node.domain and node.domain not in self._graph.opset_imports:
            self._graph.opset_imports[node.domain] = 1

    def constant(self, name: str, array: NDArray[np.generic]) -> ir.Value:
        """An initializer; one of this name is used again."""
        if name not in self._graph.initializers:
            tensor = ir.Tensor(np.asarray(array, order="C"), name=name)
            value = ir.Value(
                name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape), const_value=tensor
            )
            self._graph.register_initializer(value)
        return self._graph.initializers[name]

    def integers(self, *values: int) -> ir.Value:
        """A small constant list of int64."""
        return self.constant(f"int64.{'_'.join(map(str, values))}", np.array(values, np.int64))

    def integer(self, value: int) -> ir.Value:
        """A constant int64 scalar."""
        return self.constant(f"int64.scalar.{value}", np.array(value, np.int64))
