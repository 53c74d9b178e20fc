"""How a chain of Convs is written with matrix products, in the layout [frames, channels].

Winograd: gather the tiles' inputs, B^T by one small product over whole blocks, one product per point, A^T by another small product.
Stride 2 by polyphase: y[n] = w0 x[2n - p] + w2 x[2n - p + 2] + w1 x[2n - p + 1]; the outer taps are F(m, 2) over every second frame, the
middle one is a plain product.
Slices: the three shifted windows side by side, one product. In INT8 these take part of the range of what is multiplied: per point after
the input transform, or once for the windows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..nodes import CONTRIB
from ..pass_writer import PassWriter
from .accuracy import quantize_filter
from .frames import Frames, Geometry, ceil_div, geometry, in_order, rows_at, window_positions, with_zero_row
from .patterns import Chain, Convolution, constant_array
from .points import transforms
from .transforms import Transforms, array

# Filters of up to so many input channels are multiplied by one batched MatMul; larger ones by a MatMul per point, whose
# constant ONNX Runtime packs ahead of time (it packs matrices, not stacks of them), which is worth copying the blocks.
BATCHED_CHANNELS = 128
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Form:
    """How one chain is written.

    Attributes:
        tile: m of F(m, r); None for the slices.
        dtype: of the graph's values.
        int8: whether products are INT8, with activations quantized at run time.
        weight_limit: the largest INT8 weight.
        contrib: whether ONNX Runtime's own operators may be used.
        opset: of the graph.
    """

    tile: int | None
    dtype: type[np.floating[Any]]
    int8: bool
    weight_limit: int
    contrib: bool
    opset: int


class ChainWriter:
    """Writes one chain; its nodes are collected in `nodes`."""

    def __init__(self, nodes: PassWriter, form: Form) -> None:
        self.nodes = nodes
        self._form = form

    def write(self, x: ir.Value, chain: Chain) -> ir.Value:
        """x [B, C, T] -> [B, T', D], or [B, D, T'] where the chain does not end with a Transpose."""
        nodes = self.nodes
        first = chain.convolutions[0]
        # The bias as the middle tap over ones: right only where no output's middle lies in the padding.
        has_ones = first.bias is not None and max(first.pads) <= 1 and not self._form.int8
        frames = self._frames(x, has_ones)
        for index, convolution in enumerate(chain.convolutions):
            followed = index + 1 < len(chain.convolutions)
            ones = index == 0 and has_ones
            frames, biased = self._convolve(frames, convolution, followed, ones)
            rows = frames.rows if followed else in_order(nodes, frames)
            rows = self._bias_and_gelu(rows, None if biased else convolution.bias, bool(convolution.gelu))
            keeps_zero = convolution.bias is None or ones
            zero = frames.zero if keeps_zero else None
            frames = Frames(rows, frames.length, frames.tile, frames.tiles, zero, keeps_zero)
        y = frames.rows
        return y if chain.transpose is not None else nodes.op("Transpose", y, perm=[0, 2, 1])

    def _frames(self, x: ir.Value, ones: bool) -> Frames:
        """[B, C, T] as rows; with a channel of ones at the end, by whose filter the bias comes for nothing."""
        nodes = self.nodes
        length = nodes.op("Squeeze", nodes.op("Shape", x, start=2, end=3), nodes.integers(0))
        if ones:
            x = nodes.op("Pad", x, nodes.integers(0, 0, 0, 0, 1, 0), self._scalar(1))
        return Frames(nodes.op("Transpose", x, perm=[0, 2, 1]), length)

    def _convolve(
        self, frames: Frames, convolution: Convolution, followed: bool, ones: bool
    ) -> tuple[Frames, bool]:
        """One Conv, and whether the bias is in it; where it is followed, its last tile sees no frame."""
        nodes, tile = self.nodes, self._form.tile or 1
        where = geometry(nodes, convolution, frames.length)
        zero = None
        if followed:
            # One tile more than any that sees a frame: its inputs are zeros, and so are its outputs, exactly.
            step = tile * convolution.stride
            padded = nodes.op("Add", frames.length, nodes.integer(where.padding + 2 * step))
            tiles = nodes.op("Div", padded, nodes.integer(step)) if step > 1 else padded
            zero = nodes.op("Sub", tiles, nodes.integer(1))
        else:
            tiles = ceil_div(nodes, where.count, tile)
        filters = _filters(convolution, ones)
        bias = None if ones else convolution.bias
        # Nodes may share weights; what is made of them has the bias in it where that is a filter's.
        name = convolution.weight.name or "weight"
        if ones and convolution.bias is not None:
            name = f"{name}+{convolution.bias.name}"
        if self._form.tile is None:
            rows = self._slices(frames, convolution, tiles, where, filters, name)
            biased = self._form.int8
        elif convolution.stride == 1:
            transform, key = transforms(tile, 3), f"{name}.F({tile},3)"
            offsets = np.arange(transform.size)[:, None]
            positions = window_positions(nodes, tiles, tile, where, offsets, f"winograd.tile_{tile}")
            frames = self._padded(frames)
            inputs = nodes.op("Gather", frames.rows, rows_at(nodes, frames, positions, where.left), axis=1)
            rows, biased = self._winograd(inputs, transform, filters, bias, key)
        else:
            rows, biased = self._polyphase(frames, tiles, where, filters, bias, name)
        return Frames(rows, where.count, tile, tiles, zero), biased or ones

    def _slices(
        self,
        frames: Frames,
        convolution: Convolution,
        tiles: ir.Value,
        where: Geometry,
        filters: Float64,
        name: str,
    ) -> ir.Value:
        """[B, tiles, D] by one product; in INT8 with the bias."""
        nodes = self.nodes
        taps, channels, _ = filters.shape
        positions = window_positions(
            nodes, tiles, convolution.stride, where, np.arange(taps)[None], "winograd.window"
        )
        shape = nodes.integers(0, -1, taps * channels)
        matrix, key = filters.reshape(taps * channels, -1), f"{name}.slices"
        if not self._form.int8:
            frames = self._padded(frames)
            windows = nodes.op("Gather", frames.rows, rows_at(nodes, frames, positions, where.left), axis=1)
            windows = nodes.op("Reshape", windows, shape)
            return nodes.op("MatMul", windows, self._constant(key, matrix))
        rows, scale, zero_point = nodes.op_many("DynamicQuantizeLinear", 3, frames.rows)
        quantized = Frames(rows, frames.length, frames.tile, frames.tiles)
        quantized = with_zero_row(nodes, quantized, zero_point)
        windows = nodes.op("Gather", quantized.rows, rows_at(nodes, quantized, positions, where.left), axis=1)
        windows = nodes.op("Reshape", windows, shape)
        return self._int8_product(windows, scale, zero_point, matrix, key, convolution.bias)

    def _winograd(
        self, inputs: ir.Value, transform: Transforms, filters: Float64, bias: ir.Value | None, key: str
    ) -> tuple[ir.Value, bool]:
        """Tiles' inputs [B, n, tiles, C] and taps `filters` [r, C, D] -> [B, m tiles, D] and whether the bias is in it."""
        nodes, size = self.nodes, transform.size
        _, channels, outputs = filters.shape
        blocks = nodes.op("Reshape", inputs, nodes.integers(0, size, -1))
        kind = key.rpartition(".")[2]
        blocks = nodes.op("MatMul", self._constant(f"winograd.{kind}.input", array(transform.input)), blocks)
        blocks = nodes.op("Reshape", blocks, nodes.integers(0, size, -1, channels))
        points = np.einsum("kj,jcd->kcd", array(transform.filter), filters)
        products, biased = self._per_point(blocks, points, transform, bias, key)
        products = nodes.op("Reshape", products, nodes.integers(0, size, -1))
        products = nodes.op(
            "MatMul", self._constant(f"winograd.{kind}.output", array(transform.output)), products
        )
        return nodes.op("Reshape", products, nodes.integers(0, -1, outputs)), biased

    def _polyphase(
        self,
        frames: Frames,
        tiles: ir.Value,
        where: Geometry,
        filters: Float64,
        bias: ir.Value | None,
        name: str,
    ) -> tuple[ir.Value, bool]:
        """Stride 2: [B, m tiles, D] and whether the bias is in it."""
        nodes, tile = self.nodes, self._form.tile or 1
        frames, transform = self._padded(frames), transforms(tile, 2)
        offsets = np.concatenate([2 * np.arange(transform.size), 2 * np.arange(tile) + 1])[:, None]
        positions = window_positions(nodes, tiles, 2 * tile, where, offsets, f"winograd.phases_{tile}")
        parts = nodes.integers(transform.size, tile)
        rows = nodes.op_many("Split", 2, rows_at(nodes, frames, positions, where.left), parts, axis=0)
        inputs, middle = (nodes.op("Gather", frames.rows, row, axis=1) for row in rows)
        outer, biased = self._winograd(inputs, transform, filters[[0, 2]], bias, f"{name}.F({tile},2)")
        middle = nodes.op("Reshape", middle, nodes.integers(0, -1, filters.shape[1]))
        return nodes.op("Add", outer, self._product(middle, filters[1], f"{name}.middle")), biased

    def _per_point(
        self, blocks: ir.Value, points: Float64, transform: Transforms, bias: ir.Value | None, key: str
    ) -> tuple[ir.Value, bool]:
        """blocks [B, n, R, C] times points [n, C, D], each by each, and whether the bias is in it."""
        nodes, (size, channels, _) = self.nodes, points.shape
        if channels <= BATCHED_CHANNELS and not self._form.int8:
            return nodes.op("MatMul", blocks, self._constant(key, points)), bias is None
        parts = nodes.op_many("Split", size, blocks, nodes.integers(*[1] * size), axis=1)
        products = [self._product(part, points[k], f"{key}.point_{k}") for k, part in enumerate(parts)]
        biased = bias is None or 1 in transform.points
        if bias is not None and biased:
            # A^T has a column of ones for point 1: what is added to its product is added to every output of the tile.
            one = transform.points.index(Fraction(1))
            products[one] = nodes.op("Add", products[one], bias)
        return nodes.op("Concat", *products, axis=1), biased

    def _product(self, x: ir.Value, matrix: Float64, key: str) -> ir.Value:
        if not self._form.int8:
            return self.nodes.op("MatMul", x, self._constant(key, matrix))
        rows, scale, zero_point = self.nodes.op_many("DynamicQuantizeLinear", 3, x)
        return self._int8_product(rows, scale, zero_point, matrix, key, None)

    def _int8_product(
        self,
        x: ir.Value,
        scale: ir.Value,
        zero_point: ir.Value,
        matrix: Float64,
        key: str,
        bias: ir.Value | None,
    ) -> ir.Value:
        nodes = self.nodes
        weights, scales = quantize_filter(matrix, self._form.weight_limit)
        inputs: Sequence[ir.Value | None] = (
            x,
            nodes.constant(f"{key}.int8", weights),
            scale,
            nodes.constant(f"{key}.int8.scale", scales),
            zero_point,
        )
        if bias is not None:
            inputs = (*inputs, None, bias)
        return nodes.op("MatMulIntegerToFloat", *inputs, domain=CONTRIB)

    def _padded(self, frames: Frames) -> Frames:
        return with_zero_row(self.nodes, frames, self._scalar(0))

    def _bias_and_gelu(self, x: ir.Value, bias: ir.Value | None, gelu: bool) -> ir.Value:
        nodes = self.nodes
        if bias is not None:
            if gelu and self._form.contrib:
                return nodes.op("BiasGelu", x, bias, domain=CONTRIB)
            x = nodes.op("Add", x, bias)
        if not gelu:
            return x
        if self._form.contrib:
            return nodes.op("Gelu", x, domain=CONTRIB)
        if self._form.opset >= 20:
            return nodes.op("Gelu", x)
        erf = nodes.op("Erf", nodes.op("Div", x, self._scalar(np.sqrt(2))))
        return nodes.op("Mul", nodes.op("Mul", x, nodes.op("Add", erf, self._scalar(1))), self._scalar(0.5))

    def _scalar(self, value: float) -> ir.Value:
        name = f"winograd.{self._form.dtype.__name__}.{value:.4g}"
        return self.nodes.constant(name, np.array(value, self._form.dtype))

    def _constant(self, name: str, value: Float64) -> ir.Value:
        if self._form.dtype is not np.float32:
            name = f"{name}.{self._form.dtype.__name__}"
        return self.nodes.constant(name, value.astype(self._form.dtype))


def _filters(convolution: Convolution, ones: bool) -> Float64:
    """[3, C, D] in float64; with the bias as the middle tap of one more channel where `ones` is set."""
    filters = constant_array(convolution.weight).transpose(2, 1, 0)
    if not ones or convolution.bias is None:
        return filters
    extra = np.zeros((3, 1, filters.shape[2]))
    extra[1, 0] = constant_array(convolution.bias)
    return np.concatenate([filters, extra], axis=1)
