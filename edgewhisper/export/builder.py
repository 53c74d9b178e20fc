"""A small vocabulary for writing an ONNX graph down like a model definition."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .nodes import CONTRIB, NodeWriter
from .weights import WeightsWriter

OPSET = 20
IR_VERSION = 10


class GraphBuilder(NodeWriter):
    """Collects inputs, nodes, initializers and outputs of one graph."""

    def __init__(self, name: str, weights: WeightsWriter) -> None:
        self._weights = weights
        self._graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET, CONTRIB: 1}, name=name)
        self._scope: list[str] = []
        self._names: dict[str, int] = {}

    def input(self, name: str, dtype: ir.DataType, shape: Sequence[int | str]) -> ir.Value:
        """Declare a graph input."""
        value = ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(shape))
        self._graph.inputs.append(value)
        return value

    def output(self, value: ir.Value, name: str, dtype: ir.DataType, shape: Sequence[int | str]) -> None:
        """Make a node's result a graph output."""
        value.name, value.type, value.shape = name, ir.TensorType(dtype), ir.Shape(shape)
        self._graph.outputs.append(value)

    def _next_name(self, op_type: str) -> str:
        count = self._names.get(op_type, 0)
        self._names[op_type] = count + 1
        return f"{op_type}_{count}"

    def _add(self, node: ir.Node) -> None:
        self._graph.append(node)

    def weight(self, key: str, make: Callable[[], NDArray[np.generic]]) -> ir.Value:
        """An initializer in the weights file; see `WeightsWriter.tensor`."""
        return self._initializer(self._weights.tensor(key, make))

    def constant(
        self, name: str, value: int | float | Sequence[int], dtype: type[np.generic] = np.int64
    ) -> ir.Value:
        """A small initializer inside the graph file."""
        return self._initializer(ir.Tensor(np.asarray(value, dtype), name=name))

    def _initializer(self, tensor: ir.ExternalTensor | ir.Tensor[Any]) -> ir.Value:
        name = tensor.name or ""
        if name in self._graph.initializers:
            return self._graph.initializers[name]
        value = ir.Value(
            name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape), const_value=tensor
        )
        self._graph.register_initializer(value)
        return value

    def model(self, producer_version: str) -> ir.Model:
        """The graph as a model."""
        return ir.Model(
            self._graph, ir_version=IR_VERSION, producer_name="edgewhisper", producer_version=producer_version
        )
