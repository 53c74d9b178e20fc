"""Where a decoder's cross-attention is in the graphs: what the encoder writes for it, and how the decoder reads that."""

from dataclasses import dataclass

import onnx_ir as ir

from edgewhisper.errors import BuildError

from .linear import LinearLayer, linear_layers

_PAST_KEY, _PRESENT_KEY = "past_key_cross_", "present_key_cross_"


@dataclass(frozen=True)
class Reader:
    """Cross-attention of one layer of a decoder.

    Attributes:
        number: of the keys and values that it reads, as the encoder counts them.
        query: the projection that gives q [B, S, d], scaled by head_dim ** -0.5.
        output: the projection of what is attended to.
        past_key, past_value: the inputs that take keys and values [B, heads, T, head_dim].
        nodes: from q to the input of `output`, in their order.
        heads: number of heads.
        head_dim: width of a head.
    """

    number: int
    query: LinearLayer
    output: LinearLayer
    past_key: ir.Value
    past_value: ir.Value
    nodes: tuple[ir.Node, ...]
    heads: int
    head_dim: int


@dataclass(frozen=True)
class Writer:
    """What the encoder writes for one decoder layer: projections that give K and V [B, T, d], and outputs.

    Attributes:
        number: of the keys and values; the decoder's layer, or a number behind them for a draft's own.
    """

    number: int
    key: LinearLayer
    value: LinearLayer
    present_key: ir.Value
    present_value: ir.Value


def readers(decoder: ir.Model) -> list[Reader]:
    """The cross-attention of every layer of a decoder.

    Raises:
        BuildError: the graph does not have the form that this project exports, or is quantized already.
    """
    queries = {layer.output: layer for layer in linear_layers(decoder)}
    outputs = {layer.input: layer for layer in queries.values()}
    past = {value.name: value for value in decoder.graph.inputs}
    found = []
    for name, key in past.items():
        if name is None or not name.startswith(_PAST_KEY):
            continue
        try:
            value = past[name.replace("_key_", "_value_")]
            nodes = _attention_nodes(key, value)
            layers = queries[_computed(nodes[0].inputs[0])], outputs[nodes[-1].outputs[0]]
        except (KeyError, ValueError):
            raise _unknown_form(decoder, name) from None
        number = int(name.removeprefix(_PAST_KEY))
        found.append(Reader(number, *layers, key, value, nodes, *_heads(key)))
    return found


def writers(encoder: ir.Model) -> list[Writer]:
    """What the encoder writes, for one decoder layer after the other.

    Raises:
        BuildError: the graph does not have the form that this project exports, or is quantized already.
    """
    projections = {layer.output: layer for layer in linear_layers(encoder)}
    present = {value.name: value for value in encoder.graph.outputs}
    found = []
    for name, key in present.items():
        if name is None or not name.startswith(_PRESENT_KEY):
            continue
        try:
            value = present[name.replace("_key_", "_value_")]
            layers = projections[_projected(key)], projections[_projected(value)]
        except (KeyError, ValueError):
            raise _unknown_form(encoder, name) from None
        found.append(Writer(int(name.removeprefix(_PRESENT_KEY)), *layers, key, value))
    return found


def _unknown_form(model: ir.Model, name: str) -> BuildError:
    return BuildError(
        f"graph '{model.graph.name}': '{name}' is not used as in the graphs of this release; build the fp32 artifact again"
    )


def encoder_values_to_observe(encoder: ir.Model) -> list[str]:
    """The values of the encoder whose statistics `quantize_cross_kv` needs."""
    return [layer.output.name or "" for writer in writers(encoder) for layer in (writer.key, writer.value)]


def decoder_values_to_observe(decoder: ir.Model) -> list[str]:
    """The values of a decoder whose statistics `quantize_cross_kv` and `read_cross_kv` need."""
    return [
        value.name or ""
        for reader in readers(decoder)
        for value in (reader.query.output, reader.output.input)
    ]


def _attention_nodes(past_key: ir.Value, past_value: ir.Value) -> tuple[ir.Node, ...]:
    """The nodes between the query projection and the output projection; ValueError where they are others."""
    (keys,) = past_key.consumers()
    (scores,) = keys.outputs[0].consumers()
    (softmax,) = scores.outputs[0].consumers()
    (values,) = past_value.consumers()
    (attended,) = softmax.outputs[0].consumers()
    (transposed,) = attended.outputs[0].consumers()
    (joined,) = transposed.outputs[0].consumers()
    rows = producer_of(scores.inputs[0])
    split = producer_of(rows.inputs[0])
    nodes = (split, rows, keys, scores, softmax, values, attended, transposed, joined)
    types = [node.op_type for node in nodes]
    expected = [
        "Reshape",
        "Transpose",
        "Reshape",
        "FusedMatMul",
        "Softmax",
        "Reshape",
        "MatMul",
        "Transpose",
        "Reshape",
    ]
    if types != expected:
        raise ValueError(types)
    return nodes


def _heads(past_key: ir.Value) -> tuple[int, int]:
    assert past_key.shape is not None
    _, heads, _, head_dim = past_key.shape
    assert isinstance(heads, int)
    assert isinstance(head_dim, int)
    return heads, head_dim


def _projected(present: ir.Value) -> ir.Value:
    """The projection [B, T, d] whose heads an output of the encoder has."""
    transpose = producer_of(present)
    split = producer_of(transpose.inputs[0])
    if (transpose.op_type, split.op_type) != ("Transpose", "Reshape"):
        raise ValueError(present.name)
    return _computed(split.inputs[0])


def producer_of(value: ir.Value | None) -> ir.Node:
    node = _computed(value).producer()
    if node is None:
        raise ValueError("not computed")
    return node


def _computed(value: ir.Value | None) -> ir.Value:
    if value is None:
        raise ValueError("left out")
    return value
