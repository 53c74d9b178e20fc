"""The Convs that the pass rewrites, and what follows them: Gelu in its three spellings, the next Conv, a Transpose."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..nodes import CONTRIB

MIN_OPSET = 15  # Shape with a range of axes
TAPS = 3
AutoPad = Literal["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]


@dataclass(frozen=True)
class Convolution:
    """A 1-D Conv with three taps and what follows it."""

    node: ir.Node
    stride: int
    pads: tuple[int, int]
    auto_pad: AutoPad
    weight: ir.Value  # [D, C, 3]
    bias: ir.Value | None  # [D]
    gelu: tuple[
        ir.Node, ...
    ]  # the nodes of an exact Gelu of its result, if one follows; the last one gives the value

    @property
    def last(self) -> ir.Value:
        """The value that the Conv and its Gelu give, [B, D, T]."""
        return (self.gelu[-1] if self.gelu else self.node).outputs[0]

    @property
    def channels(self) -> tuple[int, int]:
        """Input and output channels."""
        shape = self.weight.shape
        assert shape is not None
        return int(shape[1]), int(shape[0])  # type: ignore[arg-type]


@dataclass(frozen=True)
class Chain:
    """Convs of which each one feeds the next, and the Transpose to [B, T, D] at their end, if there is one."""

    convolutions: tuple[Convolution, ...]
    transpose: ir.Node | None

    @property
    def dtype(self) -> ir.DataType | None:
        """The type of its weights and values."""
        return self.convolutions[0].weight.dtype

    @property
    def nodes(self) -> tuple[ir.Node, ...]:
        """Every node that a rewrite replaces, in order."""
        found = [n for c in self.convolutions for n in (c.node, *c.gelu)]
        return (*found, *((self.transpose,) if self.transpose else ()))


def find_chains(graph: ir.Graph) -> tuple[tuple[Chain, ...], tuple[tuple[ir.Node, str], ...]]:
    """The chains of Convs that can be rewritten, and the 1-D Convs that cannot, each with the reason."""
    opset = graph.opset_imports.get("", 0)
    chains: list[Chain] = []
    declined: list[tuple[ir.Node, str]] = []
    taken: set[ir.Node] = set()
    for node in graph.all_nodes():
        if node.op_type != "Conv" or node.domain not in ("", "ai.onnx") or node in taken or not _is_1d(node):
            continue
        if node.graph is not graph:
            declined.append((node, "it is in a subgraph, such as a branch of If"))
            continue
        _make_initializers(graph, node)
        if reason := decline(node, opset):
            declined.append((node, reason))
            continue
        found = [_convolution(node)]
        while (following := _only_consumer(found[-1].last)) is not None:
            if following.op_type != "Conv" or following.graph is not graph or not _is_1d(following):
                break
            _make_initializers(graph, following)
            if decline(following, opset) is not None or _type(following) != _type(node):
                break
            found.append(_convolution(following))
        transpose = following if following is not None and _is_transpose(following) else None
        chain = Chain(tuple(found), transpose)
        taken.update(chain.nodes)
        chains.append(chain)
    return tuple(chains), tuple(declined)


def decline(node: ir.Node, opset: int) -> str | None:
    """Why a 1-D Conv is left as it is; None where it can be rewritten."""
    weight = node.inputs[1]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if opset < MIN_OPSET:
        return f"the graph's opset is {opset}; the rewritten form needs {MIN_OPSET}"
    if weight is None or weight.const_value is None:
        return "its weights are not constant"
    if bias is not None and bias.const_value is None:
        return "its bias is not constant"
    if any(value is not None and value.is_graph_input() for value in (weight, bias)):
        return "its weights are inputs of the graph too, whose values a caller may replace"
    if weight.const_value.dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
        return f"its weights are {weight.const_value.dtype}"
    taps = int(weight.const_value.shape[2])  # type: ignore[arg-type]
    if taps != TAPS:
        return f"its kernel has {taps} taps, not {TAPS}"
    if _integer(node, "group", 1) != 1:
        return f"it has {_integer(node, 'group', 1)} groups"
    if _integers(node, "dilations", (1,)) != (1,):
        return f"its dilation is {_integers(node, 'dilations', (1,))[0]}"
    stride = _integers(node, "strides", (1,))[0]
    if stride not in (1, 2):
        return f"its stride is {stride}, not 1 or 2"
    return None


def constant_array(value: ir.Value) -> NDArray[np.float64]:
    """A constant in float64."""
    assert value.const_value is not None
    return np.asarray(value.const_value.numpy(), np.float64)


def _is_1d(node: ir.Node) -> bool:
    if "kernel_shape" in node.attributes:
        return len(node.attributes["kernel_shape"].as_ints()) == 1
    shapes = [value.shape for value in node.inputs[:2] if value is not None and value.shape is not None]
    return any(len(shape) == 3 for shape in shapes)


def _type(node: ir.Node) -> ir.DataType | None:
    weight = node.inputs[1]
    return weight.dtype if weight is not None else None


def _make_initializers(graph: ir.Graph, node: ir.Node) -> None:
    """Weights and bias that are Constant nodes, or pass through Identity, become initializers of their own."""
    for index, value in enumerate(node.inputs[1:3], start=1):
        source = value
        while (producer := source.producer() if source is not None else None) is not None:
            if producer.op_type != "Identity":
                break
            source = producer.inputs[0]
        if source is None or value is None or (source is value and source.producer() is None):
            continue
        tensor = ir.convenience.get_const_tensor(source)
        if tensor is None:
            continue
        name = f"{value.name}.constant"
        if name not in graph.initializers:
            constant = ir.Value(
                name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape.numpy()), const_value=tensor
            )  # fmt: skip
            graph.register_initializer(constant)
        node.replace_input_with(index, graph.initializers[name])


def _convolution(node: ir.Node) -> Convolution:
    weight = node.inputs[1]
    assert weight is not None
    auto_pad = node.attributes["auto_pad"].as_string() if "auto_pad" in node.attributes else "NOTSET"
    pads = _integers(node, "pads", (0, 0)) if auto_pad == "NOTSET" else (0, 0)
    return Convolution(
        node,
        _integers(node, "strides", (1,))[0],
        (pads[0], pads[1]),
        auto_pad,  # type: ignore[arg-type]
        weight,
        node.inputs[2] if len(node.inputs) > 2 else None,
        _gelu(node.outputs[0]),
    )


def _gelu(x: ir.Value) -> tuple[ir.Node, ...]:
    """The nodes of an exact Gelu that is all that `x` is used for."""
    if x.is_graph_output():
        return ()
    consumer = _only_consumer(x)
    if consumer is not None:
        exact = (
            consumer.domain == CONTRIB
            or "approximate" not in consumer.attributes
            or consumer.attributes["approximate"].as_string() == "none"
        )
        return (consumer,) if consumer.op_type == "Gelu" and exact else ()
    return _erf_gelu(x)


def _erf_gelu(x: ir.Value) -> tuple[ir.Node, ...]:
    """x / sqrt(2) -> Erf -> + 1 -> * x -> * 0.5, as PyTorch exports it."""
    users = x.consumers()
    divide = next((n for n in users if n.op_type == "Div" and n.inputs[0] is x), None)
    if len(users) != 2 or divide is None or not _is_scalar(divide.inputs[1], float(np.sqrt(2))):
        return ()
    found = [divide]
    for op_type, constant in (("Erf", None), ("Add", 1.0), ("Mul", None), ("Mul", 0.5)):
        node = _only_consumer(found[-1].outputs[0])
        if node is None or node.op_type != op_type:
            return ()
        others = [value for value in node.inputs if value is not found[-1].outputs[0]]
        if constant is not None and not (len(others) == 1 and _is_scalar(others[0], constant)):
            return ()
        if op_type == "Mul" and constant is None and others != [x]:
            return ()
        found.append(node)
    return tuple(found)


def _is_scalar(value: ir.Value | None, expected: float) -> bool:
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return tensor is not None and tensor.size == 1 and abs(float(tensor.numpy().item()) - expected) < 1e-3


def _is_transpose(node: ir.Node) -> bool:
    return node.op_type == "Transpose" and _integers(node, "perm", ()) == (0, 2, 1)


def _only_consumer(value: ir.Value) -> ir.Node | None:
    consumers = value.consumers()
    if value.is_graph_output() or len(value.uses()) != 1:
        return None
    return consumers[0]


def _integer(node: ir.Node, name: str, default: int) -> int:
    return node.attributes[name].as_int() if name in node.attributes else default


def _integers(node: ir.Node, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(node.attributes[name].as_ints()) if name in node.attributes else default
