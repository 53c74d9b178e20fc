"""Self-attention of the encoder.

MultiHeadAttention without mask and past is a flash kernel on the CPU (arXiv 2205.14135): its scores never leave the cache. On x86-vnni (Zen 5,
2 threads, 30 s) nothing else was faster. One layer of 6 heads took 10.2 ms, and unfused with the queries in blocks 10.4 to 11.7. INT8
products, the exponentials rounded to uint8 and divided by their sum afterwards, took 12.9: the kernels in between cost more than the
products save. Softmax rounded to uint8 is no alternative: weights of attention spread over 1500 positions round to zero.

On Linux for arm64 it is none: ONNX Runtime asks the C library how large the second cache is, which glibc does not tell there, and without
that (`l2_cache_size_ > 0` in multihead_attention.cc) it writes down all scores, 72 MB for 8 heads over 1500 positions. So graphs for arm64
attend in pieces of the queries (`attend_in_pieces`).
"""

import numpy as np
import onnx_ir as ir

from .layers import Layers
from .nodes import CONTRIB
from .pass_writer import PassWriter

PIECES = 6
"""Of the queries: base's scores take 12 MB then, less than other things beside them."""


def self_attention(layers: Layers, x: ir.Value, name: str, head_dim: int) -> ir.Value:
    """Attention of every position to every other, without the output projection: [B, T, d] -> [B, T, H D]."""
    query = layers.linear(x, f"{name}.q_proj")
    key = layers.matmul(x, f"{name}.k_proj")
    value = layers.linear(x, f"{name}.v_proj")
    return layers.graph.op(
        "MultiHeadAttention", query, key, value,
        domain=CONTRIB, num_heads=layers.heads(name, head_dim), scale=head_dim**-0.5,
    )  # fmt: skip


def attend_in_pieces(model: ir.Model) -> None:
    """Let each attention of the encoder look at one piece of the queries after the other, in place; there must be `PIECES` positions."""
    graph = model.graph
    attentions = [node for node in graph if node.op_type == "MultiHeadAttention"]
    lengths: ir.Value | None = None
    for attention in attentions:
        writer = PassWriter(graph, attention.name or "attention")
        query, *others = attention.inputs
        (attended,) = attention.outputs
        if lengths is None:
            lengths = _lengths(writer, query)
        pieces = [
            writer.op("MultiHeadAttention", piece, *others, domain=CONTRIB, **_attributes(attention))
            for piece in writer.op_many("Split", PIECES, query, lengths, axis=1)
        ]
        joined = writer.op("Concat", *pieces, axis=1)
        graph.insert_before(attention, writer.nodes)
        ir.convenience.replace_all_uses_with(attended, joined, replace_graph_outputs=True)
        graph.remove(attention, safe=True)
        joined.name, joined.shape, joined.type = attended.name, attended.shape, attended.type


def _lengths(writer: PassWriter, query: ir.Value | None) -> ir.Value:
    """Of the pieces of [B, T, d], which differ by one at most: none is empty, which ONNX Runtime 1.24.4 divides by."""
    count = writer.op("Shape", query, start=1, end=2)
    ends, begins = (
        writer.op(
            "Div",
            writer.op("Mul", count, writer.constant(f"attention.{name}", np.arange(first, first + PIECES))),
            writer.constant("attention.pieces", np.array([PIECES])),
        )
        for name, first in (("ends", 1), ("begins", 0))
    )
    return writer.op("Sub", ends, begins)


def _attributes(node: ir.Node) -> dict[str, int | float]:
    return {"num_heads": node.attributes["num_heads"].as_int(), "scale": node.attributes["scale"].as_float()}
