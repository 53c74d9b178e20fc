"""Conv (3 taps, stride 1 or 2) [. Gelu . Conv . Gelu . Transpose] -> matrix products in the layout [frames, channels].

The pass works on any graph. Convs that feed each other are written together, so that nothing is put in order between them, and a
Transpose(0, 2, 1) at their end disappears. What it leaves, and why, is part of its result.
"""

import numpy as np
import onnx_ir as ir

from edgewhisper.artifact import RewriteInfo

from ..nodes import CONTRIB
from ..pass_writer import PassWriter
from .accuracy import Number, direct_tiles, relative_error, slices, tiles
from .choice import Choice, Method, Precision, Table, committed_table
from .forms import ChainWriter, Form
from .patterns import TAPS, Chain, Convolution, constant_array, find_chains
from .points import TILES, transforms

# Mel frames of Whisper's window: what MACs are stated for where a graph's length is dynamic.
WINDOW_FRAMES = 3000
# U8S8 products without VNNI add two of them in 16 bits and saturate beyond 7-bit weights.
WEIGHT_LIMITS = {"x86-avx2": 63}
WEIGHT_LIMIT = 127
# The error is measured on so many tiles and output channels of the real filter.
ERROR_TILES, ERROR_OUTPUTS = 32, 64
SPECIFIC_TARGET = "cuda"


def rewrite(
    model: ir.Model,
    choice: Choice,
    target: str,
    precision: Precision = "fp32",
    table: Table | None = None,
) -> tuple[RewriteInfo, ...]:
    """Rewrite the 1-D Convs of `model` in place.

    Args:
        model: a graph in fp32 or fp16; other parts of it may be quantized.
        choice: the method; "auto" takes the table's for the target, "off" leaves every Conv.
        target: what the graph will run on.
        precision: "int8" multiplies in INT8 inside; "fp32" and "fp16" mean the type the graph has.
        table: what "auto" reads; None: the package's.

    Returns:
        What became of every 1-D Conv, in the order of the graph; empty with "off".
    """
    if choice == "off":
        return ()
    chains, declined = find_chains(model.graph)
    order = {node: index for index, node in enumerate(model.graph.all_nodes())}
    infos = [(order[node], RewriteInfo(_node_name(node), "none", reason=reason)) for node, reason in declined]
    for chain in chains:
        places = [order[convolution.node] for convolution in chain.convolutions]
        width = chain.convolutions[-1].channels[1]
        method, reason = _method(choice, target, precision, width, table)
        if precision == "int8" and chain.dtype == ir.DataType.FLOAT16:
            method, reason = "off", "its weights are fp16, which INT8 products do not take"
        if method == "off":
            reason = reason or "ONNX Runtime's Conv is the fastest here"
            left = [
                RewriteInfo(_name(c), "none", macs, macs, None, reason) for c, macs in _macs_before(chain)
            ]
            infos += zip(places, left, strict=True)
            continue
        limit = WEIGHT_LIMITS.get(target, WEIGHT_LIMIT)
        number: Number = "fp16" if chain.dtype == ir.DataType.FLOAT16 else precision
        infos += zip(places, _infos(chain, method, number, limit, reason), strict=True)
        _write(model.graph, chain, method, precision, limit)
    return tuple(info for _, info in sorted(infos, key=lambda placed: placed[0]))


def _method(
    choice: Choice, target: str, precision: Precision, width: int, table: Table | None
) -> tuple[Method, str | None]:
    if choice == "auto":
        if target == SPECIFIC_TARGET:
            return "off", "a GPU's Conv is left to its provider"
        return (table or committed_table()).choose(target, precision, width)
    return choice, None


def _write(graph: ir.Graph, chain: Chain, method: Method, precision: Precision, limit: int) -> None:
    first, last = chain.convolutions[0], chain.nodes[-1]
    tensor = first.weight.const_value
    assert tensor is not None
    dtype = np.float16 if tensor.dtype == ir.DataType.FLOAT16 else np.float32
    form = Form(
        TILES.get(method),
        dtype,
        precision == "int8",
        limit,
        CONTRIB in graph.opset_imports,
        graph.opset_imports.get("", 0),
    )
    writer = ChainWriter(PassWriter(graph, f"{_name(first)}.{method}"), form)
    x = first.node.inputs[0]
    assert x is not None
    y = writer.write(x, chain)
    ir.convenience.replace_nodes_and_values(
        graph, last, chain.nodes[::-1], writer.nodes.nodes, [last.outputs[0]], [y]
    )
    for name in [name for name, value in graph.initializers.items() if not value.uses()]:
        if not graph.initializers[name].is_graph_output():
            del graph.initializers[name]


def _infos(chain: Chain, method: Method, number: Number, limit: int, reason: str | None) -> list[RewriteInfo]:
    found = []
    for convolution, before in _macs_before(chain):
        tile = TILES.get(method)
        # Rounded, as the last digits depend on how many threads the product of the measurement had, and equal builds are equal bytes.
        error = float(f"{_error(convolution, tile, number, limit):.6g}")
        if tile is None:
            found.append(RewriteInfo(_name(convolution), "slices", before, before, error, reason))
            continue
        outer = 3 if convolution.stride == 1 else 2
        products = (tile + outer - 1) / tile + (TAPS - outer)
        label = f"F({tile},{outer})" + ("" if convolution.stride == 1 else " of the outer taps")
        found.append(
            RewriteInfo(_name(convolution), label, before, round(before * products / TAPS), error, reason)
        )
    return found


def _macs_before(chain: Chain) -> list[tuple[Convolution, int]]:
    """Each Conv with its multiply-accumulates over one window."""
    x = chain.convolutions[0].node.inputs[0]
    known = x.shape[2] if x is not None and x.shape is not None and len(x.shape) == 3 else None
    frames = known if isinstance(known, int) else WINDOW_FRAMES
    found = []
    for convolution in chain.convolutions:
        padding = sum(convolution.pads)
        if convolution.auto_pad.startswith("SAME"):
            frames = -(-frames // convolution.stride)
        else:
            frames = (frames + padding - TAPS) // convolution.stride + 1
        inputs, outputs = convolution.channels
        found.append((convolution, TAPS * inputs * outputs * frames))
    return found


def _error(convolution: Convolution, tile: int | None, number: Number, limit: int) -> float:
    """||y - y64|| / ||y64|| of this filter over unit normal inputs."""
    w = constant_array(convolution.weight)[:ERROR_OUTPUTS].transpose(2, 1, 0)
    random = np.random.default_rng(0)
    if tile is None:
        x = random.normal(size=(TAPS, ERROR_TILES, w.shape[1]))
        return relative_error(slices(x, w, number, limit), direct_tiles(x, w, 1)[0])
    if convolution.stride == 1:
        made = transforms(tile, TAPS)
        x = random.normal(size=(made.size, ERROR_TILES, w.shape[1]))
        return relative_error(tiles(x, w, made, number, limit), direct_tiles(x, w, tile))
    made = transforms(tile, 2)
    x = random.normal(size=(made.size, ERROR_TILES, w.shape[1]))
    middle = random.normal(size=(tile, ERROR_TILES, w.shape[1]))
    exact = direct_tiles(x, w[[0, 2]], tile) + middle @ w[1]
    approximate = tiles(x, w[[0, 2]], made, number, limit)
    approximate = approximate + np.stack([slices(row[None], w[1:2], number, limit) for row in middle])
    return relative_error(approximate, exact)


def _name(convolution: Convolution) -> str:
    return _node_name(convolution.node)


def _node_name(node: ir.Node) -> str:
    return node.name or node.outputs[0].name or "Conv"
