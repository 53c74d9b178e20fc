"""Self-attention of the encoder."""

import onnx_ir as ir

from .builder import CONTRIB
from .layers import Layers


def self_attention(layers: Layers, x: ir.Value, name: str, head_dim: int) -> ir.Value:
    """Attention of every position to every other, without the output projection: [B, T, d] -> [B, T, H D]."""
    query = layers.linear(x, f"{name}.q_proj")
    key = layers.matmul(x, f"{name}.k_proj")
    value = layers.linear(x, f"{name}.v_proj")
    return layers.graph.op(
        "MultiHeadAttention", query, key, value,
        domain=CONTRIB, num_heads=layers.heads(name, head_dim), scale=head_dim**-0.5,
    )  # fmt: skip
