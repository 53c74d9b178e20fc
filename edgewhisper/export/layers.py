"""The layers that Whisper's encoder and decoder are made of, as ONNX nodes.

B batch, S or T positions, d model width, H heads, D head width.
"""

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .builder import GraphBuilder
from .nodes import CONTRIB

# torch.nn.LayerNorm's default, which Whisper uses.
LAYER_NORM_EPSILON = 1e-5

Array = NDArray[np.generic]


class Layers:
    """Writes layers into a graph, with the weights of one checkpoint in fp32."""

    def __init__(self, graph: GraphBuilder, tensors: Mapping[str, Array]) -> None:
        self.graph = graph
        self._tensors = tensors

    def fp32(self, name: str) -> NDArray[np.float32]:
        """A checkpoint tensor as float32."""
        return np.asarray(self._tensors[name], np.float32)

    def parameter(self, name: str) -> ir.Value:
        """A checkpoint tensor as it is."""
        return self.graph.weight(name, lambda: self.fp32(name))

    def matmul(self, x: ir.Value, name: str) -> ir.Value:
        """x [B, S, d_in] times the linear layer `name`, without its bias -> [B, S, d_out]."""
        return self.graph.op("MatMul", x, self.graph.weight(f"{name}.weight.T", self._transposed(name)))

    def linear(self, x: ir.Value, name: str) -> ir.Value:
        """x [B, S, d_in] through the linear layer `name` -> [B, S, d_out]."""
        return self.graph.op("Add", self.matmul(x, name), self.parameter(f"{name}.bias"))

    def query(self, x: ir.Value, name: str, head_dim: int) -> ir.Value:
        """x [B, S, d] through the query projection `name`, divided by the square root of a head's width."""
        factor = np.float32(head_dim**-0.5)
        weight = self.graph.weight(f"{name}.weight.T.scaled", lambda: self.fp32(f"{name}.weight").T * factor)
        bias = self.graph.weight(f"{name}.bias.scaled", lambda: self.fp32(f"{name}.bias") * factor)
        return self.graph.op("Add", self.graph.op("MatMul", x, weight), bias)

    def qkv_bias(self, name: str) -> ir.Value:
        """The biases of an attention's three input projections in a row [3 d]; Whisper's key projection has none."""

        def make() -> Array:
            query, value = self.fp32(f"{name}.q_proj.bias"), self.fp32(f"{name}.v_proj.bias")
            return np.concatenate([query, np.zeros_like(query), value])

        return self.graph.weight(f"{name}.qkv_bias", make)

    def qkv(self, x: ir.Value, name: str) -> ir.Value:
        """x [B, S, d] through an attention's three input projections at once -> [B, S, 3 d]."""

        def make() -> Array:
            return np.concatenate([self.fp32(f"{name}.{p}_proj.weight").T for p in "qkv"], axis=1)

        product = self.graph.op("MatMul", x, self.graph.weight(f"{name}.qkv_proj.weight.T", make))
        return self.graph.op("Add", product, self.qkv_bias(name))

    def heads(self, name: str, head_dim: int) -> int:
        """The number of an attention's heads, which pruning may have made another in each layer."""
        return int(self._tensors[f"{name}.q_proj.weight"].shape[0]) // head_dim

    def split_heads(self, x: ir.Value, heads: int, width: int) -> ir.Value:
        """x [B, T, H D] -> [B, H, T, D]."""
        shape = self.graph.constant(f"heads_{heads}_{width}", [0, 0, heads, width // heads])
        return self.graph.op("Transpose", self.graph.op("Reshape", x, shape), perm=[0, 2, 1, 3])

    def layer_norm(self, x: ir.Value, name: str) -> ir.Value:
        """LayerNorm over the last axis."""
        scale, bias = self.parameter(f"{name}.weight"), self.parameter(f"{name}.bias")
        return self.graph.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=LAYER_NORM_EPSILON)

    def add_and_norm(
        self, residual: ir.Value, product: ir.Value, linear: str, norm: str
    ) -> tuple[ir.Value, ir.Value]:
        """residual + product + bias of `linear`; returns that sum and its LayerNorm by `norm`, both [B, S, d]."""
        biased = self.graph.op("Add", product, self.parameter(f"{linear}.bias"))
        # Sum, as ONNX Runtime fuses Add with LayerNormalization into SkipLayerNormalization, which is slower for several rows.
        total = self.graph.op("Sum", residual, biased)
        return total, self.layer_norm(total, norm)

    def feed_forward(self, x: ir.Value, layer: str) -> ir.Value:
        """The MLP of a block without the bias of its second layer: [B, S, d] -> [B, S, d]."""
        hidden = self.graph.op(
            "BiasGelu", self.matmul(x, f"{layer}.fc1"), self.parameter(f"{layer}.fc1.bias"), domain=CONTRIB
        )
        return self.matmul(hidden, f"{layer}.fc2")

    def _transposed(self, name: str) -> Callable[[], Array]:
        return lambda: self.fp32(f"{name}.weight").T
