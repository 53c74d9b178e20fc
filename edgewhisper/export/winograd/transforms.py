"""The three matrices of a 1-D Winograd convolution F(m, r), built exactly from a list of points.

F(m, r) gives m outputs of a filter with r taps from n = m + r - 1 inputs by n multiplications instead of m r:

    y = A^T [(G g) * (B^T x)],    y_i = sum_j x_{i+j} g_j

It multiplies the polynomials that tile and filter stand for (Toom-Cook), evaluated at n - 1 finite points and at infinity, and is
transposed to compute a correlation: Lavin and Gray, "Fast algorithms for convolutional neural networks", arXiv 1509.09308; the
construction from points follows Barabasz et al., "Error analysis and improving the accuracy of Winograd convolution for deep
neural networks", arXiv 1803.10986.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np
from numpy.typing import NDArray

Matrix = tuple[tuple[Fraction, ...], ...]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Transforms:
    """The matrices of F(m, r); row or column k belongs to point k, the last one to infinity.

    Attributes:
        points: the n - 1 finite points.
        output: A^T [m, n].
        filter: G [n, r].
        input: B^T [n, n].
    """

    points: tuple[Fraction, ...]
    output: Matrix
    filter: Matrix
    input: Matrix

    @property
    def tile(self) -> int:
        """m: outputs of one tile."""
        return len(self.output)

    @property
    def taps(self) -> int:
        """r: taps of the filter."""
        return len(self.filter[0])

    @property
    def size(self) -> int:
        """n: inputs of one tile, and multiplications."""
        return len(self.input)

    def scaled(self, factors: Sequence[Fraction]) -> "Transforms":
        """The same algorithm with row k of B^T times `factors[k]` and row k of G divided by it."""
        return Transforms(
            self.points,
            self.output,
            tuple(tuple(x / f for x in row) for row, f in zip(self.filter, factors, strict=True)),
            tuple(tuple(x * f for x in row) for row, f in zip(self.input, factors, strict=True)),
        )


def winograd(tile: int, taps: int, points: Sequence[Fraction]) -> Transforms:
    """The exact transforms of F(tile, taps) for distinct finite `points`, infinity being the last one.

    Raises:
        ValueError: not tile + taps - 2 points, or a point twice.
    """
    size = tile + taps - 1
    if len(points) != size - 1:
        raise ValueError(f"F({tile},{taps}): needs {size - 1} finite points, got {len(points)}")
    if len(set(points)) != len(points):
        raise ValueError(f"F({tile},{taps}): the points must differ: {', '.join(map(str, points))}")
    zero, one = Fraction(0), Fraction(1)
    output = tuple((*(a**i for a in points), one if i == tile - 1 else zero) for i in range(tile))
    rows, inputs = [], []
    for k, a in enumerate(points):
        others = [*points[:k], *points[k + 1 :]]
        norm = prod((a - b for b in others), start=one)
        rows.append(tuple(a**j / norm for j in range(taps)))
        inputs.append((*_polynomial(others), zero))
    rows.append((*(zero for _ in range(taps - 1)), one))
    inputs.append(_polynomial(points))
    return Transforms(tuple(points), output, tuple(rows), tuple(inputs))


def _polynomial(roots: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """Coefficients, the constant first, of the product of (x - root)."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [s - root * c for s, c in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
    return tuple(coefficients)


def array(matrix: Matrix) -> Float64:
    """An exact matrix in float64, each element rounded once."""
    return np.array([[float(x) for x in row] for row in matrix], np.float64)
