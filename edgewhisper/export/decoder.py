"""Whisper's decoder as one ONNX graph for prefill, single steps and the verification of several tokens."""

from dataclasses import dataclass

import onnx_ir as ir

from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.models.draft import HEAD, PREFIX, DraftInfo

from .builder import GraphBuilder
from .layers import Layers
from .nodes import CONTRIB
from .weights import WeightsWriter

FLOAT, INT32, INT64 = ir.DataType.FLOAT, ir.DataType.INT32, ir.DataType.INT64
# Whisper's output head is its token embedding. The graph has it once, for the head; rows for the input come from the file,
# as a lookup in the graph would keep the whole table resident beside the copy that the head's product was repacked into.
TABLE = "decoder.embed_tokens.weight"


@dataclass(frozen=True)
class DecoderParts:
    """Which tensors a decoder is made of.

    Attributes:
        name: of the graph.
        layers: prefixes of the layers' tensors.
        cross: for each layer, whose cross-attention keys and values of the encoder's it reads.
        norm: the last layer normalization.
        head: the output head's table [tokens, d].
        positions: the embedding of positions [max_target_positions, d].
        gives_hidden: whether what the head reads is an output too, for heads that go on from it.
    """

    name: str
    layers: tuple[str, ...]
    cross: tuple[int, ...]
    norm: str
    head: str
    positions: str = "decoder.embed_positions.weight"
    gives_hidden: bool = False


def main_parts(checkpoint: Checkpoint) -> DecoderParts:
    """The checkpoint's own decoder."""
    count = checkpoint.dimensions.decoder_layers
    layers = tuple(f"decoder.layers.{i}" for i in range(count))
    return DecoderParts("decoder", layers, tuple(range(count)), "decoder.layer_norm", TABLE)


def draft_parts(checkpoint: Checkpoint, info: DraftInfo) -> DecoderParts:
    """A draft's decoder, of a checkpoint that `models.draft.with_draft` made."""
    names = tuple(f"{PREFIX}layers.{i}" for i in range(info.layers))
    every = len(info.tokens) == checkpoint.dimensions.vocab_size
    head = own_or_main(checkpoint, "embed_tokens.weight") if every else HEAD
    positions = own_or_main(checkpoint, "embed_positions.weight")
    return DecoderParts("draft", names, info.cross_layers, f"{PREFIX}layer_norm", head, positions)


def own_or_main(checkpoint: Checkpoint, name: str) -> str:
    """The name of a draft's own tensor, or of the main decoder's that it reads instead."""
    own = f"{PREFIX}{name}"
    return own if own in checkpoint.tensors else f"decoder.{name}"


def build_decoder(
    checkpoint: Checkpoint, weights: WeightsWriter, parts: DecoderParts | None = None
) -> GraphBuilder:
    """A decoder, over a static KV cache of max_target_positions.

    Inputs:
        inputs_embeds [B, S, d]: rows of the token embedding; position_ids [B, S];
        seqlens_k [B]: tokens in the cache after this step, less one; total_sequence_length: the same, not less one;
        logits_from: the head runs on rows logits_from .. S;
        past_key_self_i, past_value_self_i [B, heads, max_target_positions + 1, head_dim], one row for `_RowPadding`;
        past_key_cross_j, past_value_cross_j [B, heads, positions, head_dim]: the encoder's outputs, j of `parts.cross`.
    Outputs:
        logits [B, S - logits_from, tokens of the head]; where `parts` say so, hidden [B, S - logits_from, d], what the head reads;
        present_key_self_i, present_value_self_i, to be bound to the memory of the past: attention then writes the new rows in place. Lowering seqlens_k takes tokens back.
    With more than one token after a past, B must be 1 (a limit of GroupQueryAttention).
    """
    parts = parts or main_parts(checkpoint)
    dims = checkpoint.dimensions
    head_dim = dims.d_model // dims.decoder_heads
    graph = GraphBuilder(parts.name, weights)
    layers = Layers(graph, checkpoint.tensors)

    embeddings = graph.input("inputs_embeds", FLOAT, ["batch", "sequence", dims.d_model])
    position_ids = graph.input("position_ids", INT64, ["batch", "sequence"])
    seqlens_k = graph.input("seqlens_k", INT32, ["batch"])
    total_length = graph.input("total_sequence_length", INT32, [])
    logits_from = graph.input("logits_from", INT64, [])
    self_heads = [layers.heads(f"{layer}.self_attn", head_dim) for layer in parts.layers]
    cross_heads = [layers.heads(f"{layer}.encoder_attn", head_dim) for layer in parts.layers]
    cache_shapes: list[list[int | str]] = [
        ["batch", heads, dims.max_target_positions + 1, head_dim] for heads in self_heads
    ]
    past = [
        graph.input(f"past_{kv}_self_{i}", FLOAT, shape)
        for i, shape in enumerate(cache_shapes)
        for kv in ("key", "value")
    ]
    cross = [
        graph.input(f"past_{kv}_cross_{number}", FLOAT, ["batch", heads, "positions", head_dim])
        for number, heads in zip(parts.cross, cross_heads, strict=True)
        for kv in ("key", "value")
    ]

    positions = graph.op("Gather", layers.parameter(parts.positions), position_ids)
    x = graph.op("Add", embeddings, positions)
    normed = layers.layer_norm(x, f"{parts.layers[0]}.self_attn_layer_norm")
    rows = _RowPadding(graph, position_ids)
    seqlens_k, total_length = rows.lengths(seqlens_k, total_length)
    present: list[ir.Value] = []
    norms = [f"{layer}.self_attn_layer_norm" for layer in parts.layers[1:]] + [parts.norm]
    for index, (layer, following) in enumerate(zip(parts.layers, norms, strict=True)):
        heads = self_heads[index]
        attended, key, value = graph.op_many(
            "GroupQueryAttention", 3, rows.pad(layers.qkv(normed, f"{layer}.self_attn")), None, None, past[2 * index], past[2 * index + 1],
            seqlens_k, total_length, domain=CONTRIB, num_heads=heads, kv_num_heads=heads, do_rotary=0,
        )  # fmt: skip
        present += [key, value]
        attended = layers.matmul(rows.unpad(attended), f"{layer}.self_attn.out_proj")
        x, normed = layers.add_and_norm(
            x, attended, f"{layer}.self_attn.out_proj", f"{layer}.encoder_attn_layer_norm"
        )
        query = layers.query(normed, f"{layer}.encoder_attn.q_proj", head_dim)
        attended = cross_attention(
            layers, query, cross[2 * index], cross[2 * index + 1], cross_heads[index], head_dim
        )
        attended = layers.matmul(attended, f"{layer}.encoder_attn.out_proj")
        x, normed = layers.add_and_norm(
            x, attended, f"{layer}.encoder_attn.out_proj", f"{layer}.final_layer_norm"
        )
        x, normed = layers.add_and_norm(x, layers.feed_forward(normed, layer), f"{layer}.fc2", following)

    scored = _wanted_rows(graph, normed, logits_from)
    score(layers, scored, parts.head)
    if parts.gives_hidden:
        graph.output(scored, "hidden", FLOAT, ["batch", "rows", dims.d_model])
    for index, value in enumerate(present):
        name = f"present_{('key', 'value')[index % 2]}_self_{index // 2}"
        graph.output(value, name, FLOAT, cache_shapes[index // 2])
    return graph


def cross_attention(
    layers: Layers, query: ir.Value, key: ir.Value, value: ir.Value, heads: int, head_dim: int
) -> ir.Value:
    """query [B, S, H D], scaled, attends to key and value [B, H, positions, head_dim] -> [B, S, H D].

    Every token is a batch entry of its own, so that each product has one row however many tokens a step takes and its
    bits do not depend on the others. The one-row kernel reads keys and values in place, which makes single steps faster
    than one product of all rows; long prompts are slower, as each row reads them again.
    """
    graph = layers.graph
    split = graph.op("Reshape", query, graph.constant(f"one_row_each_{heads}", [0, 0, heads, 1, head_dim]))
    rows = graph.op("Transpose", split, perm=[0, 2, 1, 3, 4])  # [B, heads, S, 1, head_dim]
    per_head = graph.constant("every_row_of_a_head", [0, 0, 1, -1, head_dim])
    key, value = (graph.op("Reshape", x, per_head) for x in (key, value))
    scores = graph.op("FusedMatMul", rows, key, domain=CONTRIB, transB=1)
    attended = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), value)
    joined = graph.op("Transpose", attended, perm=[0, 2, 1, 3, 4])
    return graph.op("Reshape", joined, graph.constant(f"joined_heads_{heads}", [0, 0, heads * head_dim]))


class _RowPadding:
    """Repeats the single row of a single sequence, so that self-attention never runs on one row alone.

    ONNX Runtime's CPU attention multiplies one query row with another kernel than several, which gives other bits; a
    token would then depend on how many were decoded in its step. Every other layer computes a row the same way whatever
    the number of rows. The repeated row's cache entry lies behind the last token, where the next step overwrites it.
    """

    def __init__(self, graph: GraphBuilder, position_ids: ir.Value) -> None:
        self._graph = graph
        self._zero, self._axis = graph.constant("zero", [0]), graph.constant("axis_1", [1])
        one = graph.constant("one_row", [1])
        count = graph.op("ReduceProd", graph.op("Shape", position_ids), keepdims=1)
        self._length = graph.op("Shape", position_ids, start=1, end=2)
        self._added = graph.op("Cast", graph.op("Equal", count, one), to=INT64)

    def lengths(self, seqlens_k: ir.Value, total: ir.Value) -> tuple[ir.Value, ir.Value]:
        """The cache lengths with the repeated row."""
        added = self._graph.op("Cast", self._added, to=INT32)
        return self._graph.op("Add", seqlens_k, added), self._graph.op(
            "Add", total, self._graph.op("Squeeze", added)
        )

    def pad(self, x: ir.Value) -> ir.Value:
        """[B, S, n] -> [B, S, n], or [1, 2, n] where B = S = 1."""
        return self._graph.op(
            "Concat", x, self._graph.op("Slice", x, self._zero, self._added, self._axis), axis=1
        )

    def unpad(self, x: ir.Value) -> ir.Value:
        """Take the repeated row away."""
        return self._graph.op("Slice", x, self._zero, self._length, self._axis)


def _wanted_rows(graph: GraphBuilder, x: ir.Value, logits_from: ir.Value) -> ir.Value:
    """x [B, S, d] -> its rows logits_from .. S."""
    to_the_end = graph.constant("to_the_end", [2**31 - 1])
    begin = graph.op("Reshape", logits_from, graph.constant("one_dimension", [1]))
    return graph.op("Slice", x, begin, to_the_end, graph.constant("axis_1", [1]))


def score(layers: Layers, x: ir.Value, table: str) -> None:
    """The output "logits" of x [B, S, d] by a table [tokens, d]."""
    head = layers.parameter(table)
    assert head.shape is not None
    count = head.shape[0]
    assert isinstance(count, int)
    logits = layers.graph.op("FusedMatMul", x, head, domain=CONTRIB, transB=1)
    layers.graph.output(logits, "logits", FLOAT, ["batch", "rows", count])
