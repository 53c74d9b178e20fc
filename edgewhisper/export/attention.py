"""Self-attention of the encoder.

MultiHeadAttention without mask and past is a flash kernel on the CPU (arXiv 2205.14135): its scores never leave the cache. On x86-vnni (Zen 5,
2 threads, 30 s) nothing else was faster. One layer of 6 heads took 10.2 ms, and unfused with the queries in blocks 10.4 to 11.7. INT8
products, the exponentials rounded to uint8 and divided by their sum afterwards, took 12.9: the kernels in between cost more than the
products save. Softmax rounded to uint8 is no alternative: weights of attention spread over 1500 positions round to zero. arm64 is unmeasured.
"""

import onnx_ir as ir

from .layers import Layers
from .nodes import CONTRIB


def self_attention(layers: Layers, x: ir.Value, name: str, head_dim: int) -> ir.Value:
    """Attention of every position to every other, without the output projection: [B, T, d] -> [B, T, H D]."""
    query = layers.linear(x, f"{name}.q_proj")
    key = layers.matmul(x, f"{name}.k_proj")
    value = layers.linear(x, f"{name}.v_proj")
    return layers.graph.op(
        "MultiHeadAttention", query, key, value,
        domain=CONTRIB, num_heads=layers.heads(name, head_dim), scale=head_dim**-0.5,
    )  # fmt: skip
