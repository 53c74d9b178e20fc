"""Heads that go on from the decoder's hidden state: one step of a recurrent draft, see `models.draft`."""

import onnx_ir as ir

from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.models.draft import HEAD, PREFIX

from .builder import GraphBuilder
from .decoder import FLOAT, cross_attention, score
from .layers import Layers
from .weights import WeightsWriter


def build_heads(checkpoint: Checkpoint, cross_layer: int, weights: WeightsWriter) -> GraphBuilder:
    """One step, of a checkpoint that `models.draft.with_draft` made.

    Inputs:
        inputs_embeds [B, S, d]: rows of the token embedding of the last tokens; state [B, S, d]: the hidden states that these were
        chosen by; past_key_cross_j, past_value_cross_j [B, heads, positions, head_dim]: the encoder's outputs.
    Outputs:
        logits [B, S, tokens of the head] of the tokens after; next_state [B, S, d].
    """
    dims = checkpoint.dimensions
    head_dim = dims.d_model // dims.decoder_heads
    graph = GraphBuilder("heads", weights)
    layers = Layers(graph, checkpoint.tensors)
    width: list[int | str] = ["batch", "sequence", dims.d_model]
    embedded, state = graph.input("inputs_embeds", FLOAT, width), graph.input("state", FLOAT, width)
    layer = f"{PREFIX}layers.0"
    heads = layers.heads(f"{layer}.encoder_attn", head_dim)
    key, value = (
        graph.input(f"past_{kv}_cross_{cross_layer}", FLOAT, ["batch", heads, "positions", head_dim])
        for kv in ("key", "value")
    )
    read = graph.op("Concat", layers.layer_norm(embedded, f"{PREFIX}token_norm"), state, axis=-1)
    mix = f"{PREFIX}mix"
    x, normed = layers.add_and_norm(state, layers.matmul(read, mix), mix, f"{layer}.encoder_attn_layer_norm")
    attention = f"{layer}.encoder_attn"
    query = layers.query(normed, f"{attention}.q_proj", head_dim)
    attended: ir.Value = cross_attention(layers, query, key, value, heads, head_dim)
    out = f"{attention}.out_proj"
    x, normed = layers.add_and_norm(x, layers.matmul(attended, out), out, f"{layer}.final_layer_norm")
    fed = layers.feed_forward(normed, layer)
    _, following = layers.add_and_norm(x, fed, f"{layer}.fc2", f"{PREFIX}layer_norm")
    score(layers, following, HEAD)
    graph.output(following, "next_state", FLOAT, width)
    return graph
