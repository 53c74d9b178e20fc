"""Whisper's encoder as an ONNX graph: log-mel frames in, the decoder's cross-attention keys and values out."""

from collections.abc import Sequence

import onnx_ir as ir

from edgewhisper.models.checkpoint import Checkpoint

from .attention import self_attention
from .builder import GraphBuilder
from .layers import Layers
from .nodes import CONTRIB
from .weights import WeightsWriter

FLOAT = ir.DataType.FLOAT
# The feed-forward network runs over a third of the positions at a time: its hidden layer, four times as wide as the model,
# is the encoder's largest tensor (base: 26 MB less at the peak, the time within noise; more pieces gain nothing).
FEED_FORWARD_PIECES = 3


def build_encoder(
    checkpoint: Checkpoint, weights: WeightsWriter, further: Sequence[str] = (), gives_hidden: bool = False
) -> GraphBuilder:
    """The encoder; `further` are cross-attentions of a draft, whose keys and values it gives behind those of the decoder's layers.

    Inputs:
        audio_features [B, n_mels, frames], frames even, at least 4 (12 once attention is in pieces) and at most
            twice max_source_positions.
    Outputs:
        present_key_cross_i, present_value_cross_i [B, heads, frames / 2, head_dim] for each decoder layer i, and for `further`;
        if it `gives_hidden`, hidden [B, frames / 2, d], which they are projections of.
    """
    dims = checkpoint.dimensions
    graph = GraphBuilder("encoder", weights)
    layers = Layers(graph, checkpoint.tensors)

    features = graph.input("audio_features", FLOAT, ["batch", dims.n_mels, "frames"])
    x = _stem(layers, features)  # [B, T, d]
    normed = layers.layer_norm(x, "encoder.layers.0.self_attn_layer_norm")
    for index in range(dims.encoder_layers):
        layer = f"encoder.layers.{index}"
        following = f"encoder.layers.{index + 1}.self_attn_layer_norm"
        if index + 1 == dims.encoder_layers:
            following = "encoder.layer_norm"
        attended = self_attention(layers, normed, f"{layer}.self_attn", dims.d_model // dims.encoder_heads)
        x = graph.op("Sum", x, layers.linear(attended, f"{layer}.self_attn.out_proj"))
        normed = layers.layer_norm(x, f"{layer}.final_layer_norm")
        x = graph.op("Sum", x, _feed_forward(layers, normed, layer))
        normed = layers.layer_norm(x, following)

    head_dim = dims.d_model // dims.decoder_heads
    attentions = [f"decoder.layers.{index}.encoder_attn" for index in range(dims.decoder_layers)]
    for index, attention in enumerate((*attentions, *further)):
        heads = layers.heads(attention, head_dim)
        key = layers.matmul(normed, f"{attention}.k_proj")
        value = layers.linear(normed, f"{attention}.v_proj")
        for name, projected in (("key", key), ("value", value)):
            graph.output(
                layers.split_heads(projected, heads, heads * head_dim),
                f"present_{name}_cross_{index}",
                FLOAT,
                ["batch", heads, "positions", head_dim],
            )
    if gives_hidden:
        graph.output(normed, "hidden", FLOAT, ["batch", "positions", dims.d_model])
    return graph


def _stem(layers: Layers, features: ir.Value) -> ir.Value:
    """[B, n_mels, frames] -> [B, frames / 2, d]: two convolutions, Gelu, sinusoidal positions."""
    graph = layers.graph
    x = features
    for name, stride in (("encoder.conv1", 1), ("encoder.conv2", 2)):
        x = graph.op(
            "Conv", x, layers.parameter(f"{name}.weight"), layers.parameter(f"{name}.bias"),
            kernel_shape=[3], pads=[1, 1], strides=[stride],
        )  # fmt: skip
        x = graph.op("Gelu", x, domain=CONTRIB)
    x = graph.op("Transpose", x, perm=[0, 2, 1])
    count = graph.op("Shape", x, start=1, end=2)
    begin, axis = graph.constant("zero", [0]), graph.constant("axis_0", [0])
    positions = graph.op("Slice", layers.parameter("encoder.embed_positions.weight"), begin, count, axis)
    return graph.op("Add", x, positions)


def _feed_forward(layers: Layers, x: ir.Value, layer: str) -> ir.Value:
    """The MLP of a block, in pieces of the positions: [B, T, d] -> [B, T, d]."""
    graph = layers.graph
    results = []
    for piece in graph.op_many("Split", FEED_FORWARD_PIECES, x, axis=1, num_outputs=FEED_FORWARD_PIECES):
        hidden = graph.op("Gelu", layers.linear(piece, f"{layer}.fc1"), domain=CONTRIB)
        results.append(layers.linear(hidden, f"{layer}.fc2"))
    return graph.op("Concat", *results, axis=1)
