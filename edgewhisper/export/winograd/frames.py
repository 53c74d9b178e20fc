"""Frames kept as rows in any order, and which row each frame is.

A Winograd product gives output i of tile u in row i R + u. Putting the rows in order and cutting the next convolution's tiles out of them are
two copies; one `Gather` with composed indices is both, padding and cropping included, for any length.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..pass_writer import PassWriter
from .patterns import TAPS, Convolution


@dataclass(frozen=True)
class Frames:
    """T frames of C channels.

    Attributes:
        rows: [B, N, C]; frame f is row (f mod tile) * tiles + f // tile.
        length: T, an int64 scalar of the graph.
        tile: outputs of one tile; 1 where frames are rows in order.
        tiles: R, an int64 scalar; unused where tile is 1.
        zero: the number of a row of zeros, an int64 scalar; None where there is none.
        zero_tile: whether the last tile is all zeros, so that row i R - 1 is zero for every output i.
    """

    rows: ir.Value
    length: ir.Value
    tile: int = 1
    tiles: ir.Value | None = None
    zero: ir.Value | None = None
    zero_tile: bool = False


@dataclass(frozen=True)
class Geometry:
    """Where a Conv's windows lie: output n sees frames stride n - left + (0, 1, 2).

    Attributes:
        left: frames of padding before the first one; the most there can be where `computed_left` says how many.
        computed_left: an int64 scalar of the graph where it depends on the length.
        padding: the most frames of padding at both ends.
        count: outputs, an int64 scalar of the graph.
    """

    left: int
    computed_left: ir.Value | None
    padding: int
    count: ir.Value


def geometry(nodes: PassWriter, convolution: Convolution, length: ir.Value) -> Geometry:
    """The windows over `length` frames, for explicit pads and for every auto_pad."""
    one, stride = nodes.integer(1), nodes.integer(convolution.stride)
    if convolution.auto_pad in ("NOTSET", "VALID"):
        left, right = convolution.pads
        # (length + left + right - TAPS) // stride + 1
        last = nodes.op("Add", length, nodes.integer(left + right - TAPS + convolution.stride))
        count = last if convolution.stride == 1 else nodes.op("Div", last, stride)
        return Geometry(left, None, left + right, count)
    count = ceil_div(nodes, length, convolution.stride)
    span = nodes.op("Add", nodes.op("Mul", nodes.op("Sub", count, one), stride), nodes.integer(TAPS))
    total = nodes.op("Max", nodes.op("Sub", span, length), nodes.integer(0))
    if convolution.auto_pad == "SAME_LOWER":
        total = nodes.op("Add", total, one)
    return Geometry(1, nodes.op("Div", total, nodes.integer(2)), TAPS - 1, count)


def ceil_div(nodes: PassWriter, value: ir.Value, divisor: int) -> ir.Value:
    """ceil(value / divisor) of a positive scalar."""
    if divisor == 1:
        return value
    return nodes.op("Div", nodes.op("Add", value, nodes.integer(divisor - 1)), nodes.integer(divisor))


def with_zero_row(nodes: PassWriter, frames: Frames, zero: ir.Value) -> Frames:
    """The same with a row of `zero`, a scalar of the rows' type, at the end."""
    if frames.zero is not None:
        return frames
    rows = nodes.op("Pad", frames.rows, nodes.integers(0, 0, 0, 0, 1, 0), zero)
    last = nodes.op("Shape", frames.rows, start=1, end=2)
    return Frames(
        rows, frames.length, frames.tile, frames.tiles, nodes.op("Squeeze", last, nodes.integers(0))
    )


def rows_at(nodes: PassWriter, frames: Frames, positions: ir.Value, before: int) -> ir.Value:
    """Rows of the frames at `positions`, which lie up to `before` frames before the first one or anywhere after the last one."""
    assert frames.zero is not None
    if frames.tile == 1 and before > 1:
        positions = nodes.op("Max", positions, nodes.integer(-1))
    if frames.tile == 1 and frames.tiles is None:
        # The row of zeros follows the last frame, and is row -1 too.
        return nodes.op("Min", positions, frames.length)
    inside = nodes.op("Less", positions, frames.length)
    if frames.tile > 1 and before > (1 if frames.zero_tile else 0):
        inside = nodes.op("And", inside, nodes.op("GreaterOrEqual", positions, nodes.integer(0)))
    return nodes.op("Where", inside, _rows_of(nodes, frames, positions), frames.zero)


def in_order(nodes: PassWriter, frames: Frames) -> ir.Value:
    """All frames, [B, T, C]."""
    if frames.tile == 1:
        return frames.rows
    every = nodes.op("Range", nodes.integer(0), frames.length, nodes.integer(1))
    return nodes.op("Gather", frames.rows, _rows_of(nodes, frames, every), axis=1)


def window_positions(
    nodes: PassWriter, tiles: ir.Value, step: int, where: Geometry, offsets: NDArray[np.int64], name: str
) -> ir.Value:
    """Positions step u - left + offset for tile u = 0..tiles - 1; `offsets` is a column [n, 1] or a row [1, n]."""
    limit = nodes.op("Mul", tiles, nodes.integer(step)) if step > 1 else tiles
    first = nodes.op("Range", nodes.integer(0), limit, nodes.integer(step))
    if offsets.shape[0] == 1:
        first = nodes.op("Unsqueeze", first, nodes.integers(1))
    if where.computed_left is not None:
        first = nodes.op("Sub", first, where.computed_left)
        return nodes.op("Add", first, nodes.constant(name, offsets))
    return nodes.op("Add", first, nodes.constant(f"{name}_{where.left}", offsets - where.left))


def _rows_of(nodes: PassWriter, frames: Frames, positions: ir.Value) -> ir.Value:
    """Row of every position; of position -1, the last row of the output before it."""
    if frames.tile == 1:
        return positions
    tile = nodes.integer(frames.tile)
    within = nodes.op("Mod", positions, tile)
    whole = nodes.op("Div", nodes.op("Sub", positions, within), tile)
    return nodes.op("Add", nodes.op("Mul", within, frames.tiles), whole)
