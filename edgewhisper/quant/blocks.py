"""Blockwise quantization of a matrix: small integers, with a scale and perhaps a zero point per block of a row.

    x = (q - zero_point) * scale,  q in 0 .. 2^bits - 1

This is the form of ONNX Runtime's MatMulNBits, 4 or 8 bits, with blocks along the dimension that a product sums over.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Method = Literal["round-to-nearest", "k-quant"]
Floats = NDArray[np.float32]

# Elements that are quantized at once: the search holds some ten arrays of this size.
_CHUNK_ELEMENTS = 2**20
# The range that the search lets the levels span, as multiples of the block's own: clipping the outermost values a little
# makes the steps between all others finer.
_SPANS = np.linspace(0.70, 1.04, 9)
# The least scale, against blocks of zeros and denormals: the smallest normal number would make 1 / scale overflow.
_LEAST_SCALE = 2.0**-120


@dataclass(frozen=True)
class QuantizedMatrix:
    """A matrix [rows, width] in blocks.

    Attributes:
        values: levels [rows, blocks, block_size], one per byte; the last block of a row is filled up with zero points.
        scales: [rows, blocks].
        zero_points: [rows, blocks]; None for 2^(bits - 1) in every block.
        bits: 4 or 8.
        width: columns of the matrix.
    """

    values: NDArray[np.uint8]
    scales: Floats
    zero_points: NDArray[np.uint8] | None
    bits: int
    width: int

    def packed(self) -> NDArray[np.uint8]:
        """The levels as MatMulNBits reads them: [rows, blocks, block_size * bits / 8]."""
        return pack(self.values, self.bits)

    def packed_zero_points(self) -> NDArray[np.uint8] | None:
        """The zero points as MatMulNBits reads them: [rows, bytes], each row filled up to a whole byte."""
        if self.zero_points is None:
            return None
        odd = self.zero_points.shape[1] * self.bits % 8
        return pack(np.pad(self.zero_points, ((0, 0), (0, 1 if odd else 0))), self.bits)

    def matrix(self) -> Floats:
        """The matrix [rows, width] that the integers stand for."""
        zero_points = 2 ** (self.bits - 1) if self.zero_points is None else self.zero_points[..., None]
        levels = self.values.astype(np.float32) - np.float32(zero_points)
        return (levels * self.scales[..., None]).reshape(len(self.values), -1)[:, : self.width]


def pack(values: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Levels [..., n] -> bytes [..., n * bits / 8]; of two 4-bit levels the first lies in the low half."""
    if bits == 8:
        return values
    return np.bitwise_or(values[..., ::2], np.left_shift(values[..., 1::2], 4), dtype=np.uint8)


def quantize(matrix: Floats, bits: int, block_size: int, method: Method, symmetric: bool) -> QuantizedMatrix:
    """Quantize a matrix [rows, width] in blocks of `block_size` along its rows.

    Args:
        matrix: finite values.
        bits: 4 or 8.
        block_size: a power of two, 16 or more; rows are filled up to whole blocks.
        method: "round-to-nearest" spans the range of each block exactly; "k-quant" searches for the scale and zero point
            of the least weighted squared error.
        symmetric: zero points are 2^(bits - 1), and not stored.
    """
    rows, width = matrix.shape
    blocks = -(-width // block_size)
    values = np.empty((rows, blocks, block_size), np.uint8)
    scales = np.empty((rows, blocks), np.float32)
    zero_points = np.empty((rows, blocks), np.uint8)
    for chunk in _chunks(rows, blocks * block_size):
        piece = np.pad(matrix[chunk], ((0, 0), (0, blocks * block_size - width)))
        x = np.asarray(piece, np.float32).reshape(-1, block_size)
        scale, zero_point = _span(x, bits, symmetric)
        if method == "k-quant":
            scale, zero_point = _search(x, bits, symmetric, scale, zero_point)
        values[chunk] = _levels(x, scale, zero_point, bits).reshape(-1, blocks, block_size)
        scales[chunk], zero_points[chunk] = scale.reshape(-1, blocks), zero_point.reshape(-1, blocks)
    return QuantizedMatrix(values, scales, None if symmetric else zero_points, bits, width)


def _chunks(rows: int, row_elements: int) -> Iterator[slice]:
    step = max(1, _CHUNK_ELEMENTS // row_elements)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def _span(x: Floats, bits: int, symmetric: bool) -> tuple[Floats, Floats]:
    """Scale and zero point [n] with which the levels span the range of each block of x [n, block_size], zero included.

    A symmetric block lets its value of the largest magnitude be the lowest level, which has no counterpart above zero:
    the scale is negative where that value is positive.
    """
    top = 2**bits - 1
    low, high = np.minimum(x.min(axis=1), 0), np.maximum(x.max(axis=1), 0)
    if symmetric:
        middle = np.float32(2 ** (bits - 1))
        scale = np.where(-low >= high, low, high) / -middle
        return _normal(scale), np.full(len(x), middle, np.float32)
    scale = _normal((high - low) / np.float32(top))
    return scale, np.clip(np.rint(-low / scale), 0, top)


def _search(
    x: Floats, bits: int, symmetric: bool, scale: Floats, zero_point: Floats
) -> tuple[Floats, Floats]:
    """Scale and zero point [n] of the least weighted squared error, starting from those that span each block.

    The idea is that of the "k-quants" of llama.cpp (I. Kawrakow, ggml, 2023): large weights matter more, so errors
    count by the root mean square of the block plus the weight's magnitude; a few ranges are tried, and for the levels that each
    of them gives, the best scale follows by least squares. There the blocks' minima are real numbers; MatMulNBits has
    integer zero points, so that each range implies one, and the one that follows from the refined scale.
    """
    weight = np.sqrt(np.mean(x * x, axis=1, keepdims=True)) + np.abs(x)
    best_scale, best_zero, best_error = scale, zero_point, _error(x, weight, scale, zero_point, bits)
    low = np.minimum(x.min(axis=1), 0)
    for span in _SPANS:
        tried = _normal(scale * np.float32(span))
        zero = zero_point
        if not symmetric:
            zero = np.clip(np.rint(-low * np.float32(span) / tried), 0, 2**bits - 1)
        for _ in range(2):
            levels = _levels(x, tried, zero, bits).astype(np.float32) - zero[:, None]
            norm = np.sum(weight * levels * levels, axis=1)
            fitted = np.sum(weight * levels * x, axis=1) / np.where(norm > 0, norm, 1)
            tried = _normal(np.where(norm > 0, fitted, tried).astype(np.float32))
            error = _error(x, weight, tried, zero, bits)
            better = error < best_error
            best_scale = np.where(better, tried, best_scale)
            best_zero = np.where(better, zero, best_zero)
            best_error = np.minimum(error, best_error)
    return best_scale, best_zero


def _normal(scale: Floats) -> Floats:
    """Scales away from zero, as they are divided by; a block of zeros has any."""
    return np.where(np.abs(scale) < _LEAST_SCALE, np.float32(_LEAST_SCALE), scale).astype(np.float32)


def _levels(x: Floats, scale: Floats, zero_point: Floats, bits: int) -> NDArray[np.uint8]:
    rounded = np.rint(x * (1 / scale)[:, None]) + zero_point[:, None]
    return np.clip(rounded, 0, 2**bits - 1).astype(np.uint8)


def _error(x: Floats, weight: Floats, scale: Floats, zero_point: Floats, bits: int) -> Floats:
    """The weighted squared error [n] of each block."""
    levels = _levels(x, scale, zero_point, bits).astype(np.float32) - zero_point[:, None]
    difference = levels * scale[:, None] - x
    error: Floats = np.sum(weight * difference * difference, axis=1)
    return error
