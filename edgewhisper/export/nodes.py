"""Writing nodes: the vocabulary that graph builders and passes share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import onnx_ir as ir

CONTRIB = "com.microsoft"

Attribute = int | float | str | Sequence[int]


class NodeWriter(ABC):
    """Makes nodes with names of their own; a subclass says how they are called and where they go."""

    def op(
        self, op_type: str, *inputs: ir.Value | None, domain: str = "", **attributes: Attribute
    ) -> ir.Value:
        """Add a node with one result."""
        return self.op_many(op_type, 1, *inputs, domain=domain, **attributes)[0]

    def op_many(
        self, op_type: str, outputs: int, *inputs: ir.Value | None, domain: str = "", **attributes: Attribute
    ) -> Sequence[ir.Value]:
        """Add a node with several results."""
        name = self._next_name(op_type)
        node = ir.node(op_type, inputs, attributes, domain=domain, num_outputs=outputs, name=name)
        for index, value in enumerate(node.outputs):
            value.name = name if outputs == 1 else f"{name}_{index}"
        self._add(node)
        return node.outputs

    @abstractmethod
    def _next_name(self, op_type: str) -> str:
        """The name of the node that comes next."""

    @abstractmethod
    def _add(self, node: ir.Node) -> None:
        """Put a finished node where it belongs."""
