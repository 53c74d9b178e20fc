"""Weight-only quantization: y = x W with W in 4 or 8 bits, by ONNX Runtime's MatMulNBits.

    MatMul(x, W) [. Add(b)]  ->  MatMulNBits(x, blocks of W, scales [, zero points] [, b])

The output head's FusedMatMul(transB=1) multiplies by the token embedding [vocab_size, d], whose rows are what MatMulNBits
wants: the runtime reads embedding rows from the tensors of the head, so that the table is stored once.
"""

from collections.abc import Collection
from dataclasses import dataclass

import onnx_ir as ir

from edgewhisper.errors import UsageError

from .blocks import Method, quantize
from .linear import CONTRIB, LinearLayer, add_initializer, linear_layers, remove_unused_initializers

# Products with inputs rounded to 8 bits per block of a row; level 0 computes in fp32, at a third of the speed, and gives a
# single row other bits than the same row among others.
ACCURACY_LEVEL = 4
# Block sizes with which ONNX Runtime's x86 kernels give a row among others the same bits whatever the others are (1.24.4 to
# 1.32); larger blocks run two rows at a time and the odd row by a kernel that adds up in another order. A row alone has the
# same bits too, except with 4 bits and blocks of 32 on AVX2 without VNNI: there the runtime's probe has it run as two.
EXACT_BLOCK_SIZES = {4: (16, 32), 8: (16, 32, 64)}


@dataclass(frozen=True)
class WeightOnlyOptions:
    """How weights are quantized.

    Attributes:
        bits: 4 or 8.
        block_size: weights that share a scale; one of EXACT_BLOCK_SIZES[bits].
        method: how scales are chosen.
        table_bits: of the token embedding, which the output head shares.
    """

    bits: int
    block_size: int = 32
    method: Method = "k-quant"
    table_bits: int = 8


def quantize_weights(model: ir.Model, options: WeightOnlyOptions, kept: Collection[ir.Node] = ()) -> None:
    """Quantize the weights of every linear layer in place, but of those in `kept`.

    Raises:
        UsageError: a number of bits or a block size that ONNX Runtime has not, or has not exactly.
        BuildError: the graph is quantized already.
    """
    _check(options)
    for layer in linear_layers(model, kept):
        weights = _quantized_weights(model.graph, layer, options)
        layer.replace(model.graph, [_product(layer, weights)])
        remove_unused_initializers(model.graph)
    model.graph.opset_imports.setdefault(CONTRIB, 1)


@dataclass(frozen=True)
class _Weights:
    """A quantized matrix in a graph."""

    values: ir.Value
    scales: ir.Value
    zero_points: ir.Value | None
    bits: int
    block_size: int


def _quantized_weights(graph: ir.Graph, layer: LinearLayer, options: WeightOnlyOptions) -> _Weights:
    """The weights of a layer as initializers, which layers of one weight share."""
    bits = options.table_bits if layer.transposed else options.bits
    symmetric = layer.transposed or bits == 8
    name = f"{layer.name}.int{bits}"
    if name not in graph.initializers:
        matrix = quantize(layer.matrix().T, bits, options.block_size, options.method, symmetric)
        add_initializer(graph, name, matrix.packed)
        add_initializer(graph, f"{name}.scales", lambda: matrix.scales)
        packed = matrix.packed_zero_points()
        if packed is not None:
            add_initializer(graph, f"{name}.zero_points", lambda: packed)
    values, scales = graph.initializers[name], graph.initializers[f"{name}.scales"]
    zero_points = graph.initializers.get(f"{name}.zero_points")
    return _Weights(values, scales, zero_points, bits, options.block_size)


def _product(layer: LinearLayer, weights: _Weights) -> ir.Node:
    inputs = [layer.input, weights.values, weights.scales, weights.zero_points, None, layer.bias]
    while inputs[-1] is None:
        inputs.pop()
    d_in, d_out = layer.shape
    return ir.node(
        "MatMulNBits",
        inputs,
        {
            "K": d_in,
            "N": d_out,
            "bits": weights.bits,
            "block_size": weights.block_size,
            "accuracy_level": ACCURACY_LEVEL,
        },
        domain=CONTRIB,
        name=f"{layer.nodes[0].name}.int{weights.bits}",
    )


def _check(options: WeightOnlyOptions) -> None:
    for bits in (options.bits, options.table_bits):
        if bits not in EXACT_BLOCK_SIZES:
            raise UsageError(f"{bits} bits: weight-only quantization has {_listed(EXACT_BLOCK_SIZES)}")
        if options.block_size not in EXACT_BLOCK_SIZES[bits]:
            raise UsageError(
                f"block size {options.block_size}: not with {bits} bits; take {_listed(EXACT_BLOCK_SIZES[bits])}"
            )


def _listed(numbers: object) -> str:
    assert isinstance(numbers, dict | tuple)
    return " or ".join(map(str, numbers))
