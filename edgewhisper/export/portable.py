"""Contrib operators (com.microsoft) -> operators of the ONNX standard, for execution providers without the former.

    Gelu(x)                              -> ai.onnx Gelu(x)
    BiasGelu(x, b)                       -> Gelu(x + b)
    FusedMatMul(a, b, transB=1)          -> MatMul(a, Transpose(b)); Gemm where b is a constant table, which is not copied so
    MultiHeadAttention(q, k, v)          -> Softmax(scale q k^T) v per head
    Split(x, num_outputs=n)              -> Slice(x) n times, as OpenVINO splits into equal parts only
    GroupQueryAttention(q, k, v, past)   -> present = ScatterElements(past, new rows); Softmax(q present_k^T / sqrt(D) + mask) present_v

The decoder's mask is explicit: row r of the cache is seen by rows r and later. A portable graph promises nothing about a past
and a present that share memory.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgewhisper.errors import BuildError

from .nodes import CONTRIB, Attribute


def lower(model: ir.Model) -> None:
    """Replace every contrib operator of a graph, in place; the values that other nodes use keep their names.

    Raises:
        BuildError: an operator, or a form of one, that has no counterpart here; a quantized one for instance.
    """
    lowering = _Lowering(model.graph)
    for node in list(model.graph):
        if node.domain == CONTRIB or (node.op_type == "Split" and "num_outputs" in node.attributes):
            lowering.replace(node)
    model.graph.opset_imports.pop(CONTRIB, None)


class _Lowering:
    """Writes the counterparts of one graph's nodes."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._node: ir.Node
        self._written: list[ir.Node] = []
        self._masks: dict[ir.Value, tuple[ir.Value, ir.Value]] = {}
        self._rules: dict[str, Callable[[ir.Node], Sequence[ir.Value]]] = {
            "BiasGelu": self._bias_gelu,
            "FusedMatMul": self._fused_matmul,
            "Gelu": lambda node: [self._op("Gelu", node.inputs[0])],
            "GroupQueryAttention": self._group_query_attention,
            "MultiHeadAttention": self._multi_head_attention,
            "Split": self._split,
        }

    def replace(self, node: ir.Node) -> None:
        """Put the counterpart of a node in its place."""
        if node.op_type not in self._rules:
            raise BuildError(
                f"node '{node.name}': {node.op_type} has no plain ONNX form here; take --ops fused, or --precision fp32"
            )
        self._node, self._written = node, []
        results = self._rules[node.op_type](node)
        named = [index for index, value in enumerate(node.outputs) if value.name]
        ir.convenience.replace_nodes_and_values(
            self._graph, node, [node], self._written,
            [node.outputs[index] for index in named], [results[index] for index in named],
        )  # fmt: skip

    def _bias_gelu(self, node: ir.Node) -> Sequence[ir.Value]:
        return [self._op("Gelu", self._op("Add", *node.inputs))]

    def _fused_matmul(self, node: ir.Node) -> Sequence[ir.Value]:
        a, b = node.inputs
        assert a is not None
        assert b is not None
        if any(node.attributes.get_int(name, 0) for name in ("transA", "transBatchA", "transBatchB")):
            raise self._unsupported("a transposed first factor")
        alpha = node.attributes.get_float("alpha", 1.0)
        if alpha != 1.0:
            a = self._scaled(a, alpha, b)
        if not node.attributes.get_int("transB", 0):
            return [self._op("MatMul", a, b)]
        rank = _rank(b)
        if rank is None:
            raise self._unsupported("a second factor of unknown rank")
        if rank == 2 and b.const_value is not None:
            return [self._times_table(a, b)]
        swapped = self._op("Transpose", b, perm=[*range(rank - 2), rank - 1, rank - 2])
        return [self._op("MatMul", a, swapped)]

    def _times_table(self, rows: ir.Value, table: ir.Value) -> ir.Value:
        """rows [..., d] times table [n, d] transposed; Gemm takes the table as it lies."""
        n, width = _static(table)
        flat = self._op("Reshape", rows, self._constant(f"rows_of_{width}", [-1, width]))
        product = self._op("Gemm", flat, table, transB=1)
        leading = self._op("Shape", rows, start=0, end=-1)
        shape = self._op("Concat", leading, self._constant(f"row_of_{n}", [n]), axis=0)
        return self._op("Reshape", product, shape)

    def _multi_head_attention(self, node: ir.Node) -> Sequence[ir.Value]:
        query, key, value, bias, *others = (*node.inputs, None, None)[: max(4, len(node.inputs))]
        scale = node.attributes.get_float("scale", 0.0)
        if bias is not None or any(others) or query is None or key is None or value is None or not scale:
            raise self._unsupported("a mask, a past, packed inputs, a bias or no scale")
        heads = node.attributes.get_int("num_heads")
        queries = self._scaled(self._split_heads(query, heads, [0, 2, 1, 3]), scale, query)
        keys = self._split_heads(key, heads, [0, 2, 3, 1])
        values = self._split_heads(value, heads, [0, 2, 1, 3])
        return [self._attention(self._op("MatMul", queries, keys), values)]

    def _group_query_attention(self, node: ir.Node) -> Sequence[ir.Value]:
        """Over a static cache: the rows seqlens_k + 1 - S .. seqlens_k of past and present are the S new ones."""
        packed, key, _, past_key, past_value, seqlens_k, _, *others = node.inputs
        heads = node.attributes.get_int("num_heads")
        rotary = node.attributes.get_int("do_rotary", 0)
        if key or any(others) or rotary or node.attributes.get_int("kv_num_heads") != heads:
            raise self._unsupported("separate keys, fewer heads of keys, rotary positions or a mask")
        if past_key is None or past_key.shape is None or packed is None or seqlens_k is None:
            raise self._unsupported("no static past")
        capacity, head_dim = _static(past_key)[-2:]
        projected = self._op_many("Split", 3, packed, axis=2, num_outputs=3)
        q, k, v = (self._split_heads(x, heads, [0, 2, 1, 3]) for x in projected)
        rows, mask = self._rows_and_mask(seqlens_k, packed, capacity, past_key)
        indices = self._op("Expand", rows, self._op("Shape", k))
        present_key = self._op("ScatterElements", past_key, indices, k, axis=2)
        present_value = self._op("ScatterElements", past_value, indices, v, axis=2)
        scale = node.attributes.get_float("scale", 0.0) or head_dim**-0.5
        keys = self._op("Transpose", present_key, perm=[0, 1, 3, 2])
        scores = self._op("MatMul", self._scaled(q, scale, past_key), keys)
        return [self._attention(self._op("Add", scores, mask), present_value), present_key, present_value]

    def _split(self, node: ir.Node) -> Sequence[ir.Value]:
        """The first parts are equal, the last may be shorter."""
        (x,), count = node.inputs, node.attributes.get_int("num_outputs")
        axis = node.attributes.get_int("axis", 0)
        length = self._op("Shape", x, start=axis, end=axis + 1)
        rounded_up = self._op("Add", length, self._constant(f"round_up_{count}", [count - 1]))
        part = self._op("Div", rounded_up, self._constant(f"parts_{count}", [count]))
        bounds = [self._op("Mul", part, self._constant(f"part_{i}", [i])) for i in range(count + 1)]
        axes = self._constant(f"axis_{axis}", [axis])
        return [self._op("Slice", x, bounds[i], bounds[i + 1], axes) for i in range(count)]

    def _rows_and_mask(
        self, seqlens_k: ir.Value, query: ir.Value, capacity: int, past: ir.Value
    ) -> tuple[ir.Value, ir.Value]:
        """The cache rows of the new tokens [B, 1, S, 1], and 0 where they see a row, else -inf [B, 1, S, capacity].

        Every layer of a decoder takes the same tokens, so the first layer's serve all.
        """
        if seqlens_k not in self._masks:
            count = self._op("Shape", query, start=1, end=2)
            first = self._op("Sub", self._op("Cast", seqlens_k, to=ir.DataType.INT64), count)
            one = self._constant("one", 1)
            offsets = self._op("Range", one, self._op("Add", self._op("Squeeze", count), one), one)
            to_column = self._op("Reshape", first, self._constant("column", [-1, 1, 1, 1]))
            rows = self._op(
                "Add", to_column, self._op("Reshape", offsets, self._constant("row", [1, 1, -1, 1]))
            )
            seen = self._op("LessOrEqual", self._constant(f"rows_of_cache_{capacity}", range(capacity)), rows)
            zero, minus_infinity = self._scalar("seen", 0.0, past), self._scalar("unseen", -math.inf, past)
            self._masks[seqlens_k] = rows, self._op("Where", seen, zero, minus_infinity)
        return self._masks[seqlens_k]

    def _split_heads(self, x: ir.Value, heads: int, perm: Sequence[int]) -> ir.Value:
        """x [B, S, H D] -> [B, S, H, D], transposed by `perm`."""
        split = self._op("Reshape", x, self._constant(f"split_into_{heads}", [0, 0, heads, -1]))
        return self._op("Transpose", split, perm=perm)

    def _attention(self, scores: ir.Value, values: ir.Value) -> ir.Value:
        """scores [B, H, S, T], values [B, H, T, D] -> [B, S, H D]."""
        attended = self._op("MatMul", self._op("Softmax", scores, axis=-1), values)
        joined = self._op("Transpose", attended, perm=[0, 2, 1, 3])
        return self._op("Reshape", joined, self._constant("join_heads", [0, 0, -1]))

    def _scaled(self, x: ir.Value, scale: float, like: ir.Value) -> ir.Value:
        return self._op("Mul", x, self._scalar(f"scale_{scale:.9g}", scale, like))

    def _op(self, op_type: str, *inputs: ir.Value | None, **attributes: Attribute) -> ir.Value:
        return self._op_many(op_type, 1, *inputs, **attributes)[0]

    def _op_many(
        self, op_type: str, outputs: int, *inputs: ir.Value | None, **attributes: Attribute
    ) -> Sequence[ir.Value]:
        name = f"{self._node.name}.{op_type}_{len(self._written)}"
        node = ir.node(op_type, inputs, attributes, num_outputs=outputs, name=name)
        for index, value in enumerate(node.outputs):
            value.name = name if outputs == 1 else f"{name}_{index}"
        self._written.append(node)
        return node.outputs

    def _scalar(self, name: str, value: float, like: ir.Value) -> ir.Value:
        """A constant of the type of `like`."""
        dtype = (like.dtype or ir.DataType.FLOAT).numpy()
        return self._initializer(f"portable.{name}.{dtype}", np.asarray(value, dtype))

    def _constant(self, name: str, value: int | Sequence[int]) -> ir.Value:
        return self._initializer(f"portable.{name}", np.asarray(value, np.int64))

    def _initializer(self, name: str, array: NDArray[np.generic]) -> ir.Value:
        if name not in self._graph.initializers:
            self._graph.register_initializer(
                ir.Value(
                    name=name,
                    type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
                    shape=ir.Shape(array.shape),
                    const_value=ir.Tensor(array, name=name),
                )
            )
        return self._graph.initializers[name]

    def _unsupported(self, form: str) -> BuildError:
        name, op_type = self._node.name, self._node.op_type
        return BuildError(
            f"node '{name}': {op_type} with {form} has no plain ONNX form here; take --ops fused"
        )


def _static(value: ir.Value) -> list[int]:
    """The dimensions that are numbers."""
    return [dim for dim in value.shape or () if isinstance(dim, int)]


def _rank(value: ir.Value) -> int | None:
    """The number of axes, as far as the node that makes the value tells it."""
    if value.shape is not None:
        return len(value.shape)
    node = value.producer()
    if node is not None and node.op_type == "Transpose" and "perm" in node.attributes:
        return len(node.attributes.get_ints("perm"))
    if (
        node is not None
        and node.op_type == "Reshape"
        and (shape := node.inputs[1]) is not None
        and shape.const_value is not None
    ):
        return int(shape.const_value.size)
    return None
