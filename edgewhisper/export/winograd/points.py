"""Points for F(m, r): groups {-1/c, -c, c, 1/c} and the search for the c with the smallest measured error.

After Alam et al., "Winograd convolution for deep neural networks: efficient point selection", arXiv 2201.10369: points in groups closed under
negation and reciprocals make transforms whose rounding errors stay small, and c need not be an integer or a power of two.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from .accuracy import Number, RelativeErrors, errors_on_random_tiles
from .transforms import Transforms, array, winograd

TileName = Literal["F2", "F4", "F6"]
# Outputs of a tile, by the name of the method.
TILES: dict[str, int] = {"F2": 2, "F4": 4, "F6": 6}
# c as a fraction that is exact in float32: the transforms stay exact, and their elements small.
DENOMINATOR = 64
# Below 0.3 the reciprocals leave the range of half precision's digits; towards 1 two points of a group meet.
SEARCHED = (0.3, 0.95)
# What `search` found in fp32 for each F(m, r); fp16 and INT8 agree to a step, but for F(4,2), where theirs is 15/32 (3 % less error).
CHOSEN: dict[tuple[int, int], Fraction] = {
    (4, 3): Fraction(21, 32),
    (6, 3): Fraction(1, 2),
    (4, 2): Fraction(1, 2),
    (6, 2): Fraction(1, 2),
}


@dataclass(frozen=True)
class Candidate:
    """One choice of points with what it costs in accuracy."""

    c: float | None  # None where F(m, r) has too few points for a group
    transforms: Transforms
    errors: RelativeErrors
    condition: float  # the product of the condition numbers of the three matrices


def points(tile: int, taps: int, c: Fraction | None = None) -> tuple[Fraction, ...]:
    """The finite points of F(tile, taps): zero, one, minus one and the group of `c`, as many as are needed.

    Raises:
        ValueError: more points than one group gives (8 with infinity).
    """
    count = tile + taps - 2
    zero, one = Fraction(0), Fraction(1)
    if count <= 3:
        return (zero, one, -one)[:count]
    c = CHOSEN[tile, taps] if c is None else c
    group = (c, -c, 1 / c, -1 / c)
    match count:
        case 4:
            return (zero, one, -one, c)
        case 5:
            return (zero, *group)
        case 6:
            return (zero, one, *group)
        case 7:
            return (zero, one, -one, *group)
    raise ValueError(f"F({tile},{taps}): needs {count} finite points, there are 7")


def transforms(tile: int, taps: int, c: Fraction | None = None) -> Transforms:
    """F(tile, taps) with the project's points, each row of B^T scaled by a power of two to elements of about 1.

    Powers of two change no digit in fp32; in half precision they keep the transformed filters from underflowing.
    """
    made = winograd(tile, taps, points(tile, taps, c))
    largest = [max(abs(x) for x in row) for row in made.input]
    return made.scaled([Fraction(2) ** -round(np.log2(float(x))) for x in largest])


def search(
    tile: int,
    taps: int,
    number: Number,
    steps: int = 42,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Candidate, ...]:
    """Measure F(tile, taps) for evenly spaced c; the best one, by mean error, comes first."""
    values: Sequence[Fraction | None] = [None]
    if tile + taps - 2 > 3:
        grid = np.linspace(*SEARCHED, steps)
        values = sorted({Fraction(round(c * DENOMINATOR), DENOMINATOR) for c in grid})
    found = []
    for done, c in enumerate(values):
        made = transforms(tile, taps, c)
        found.append(
            Candidate(
                None if c is None else float(c), made, errors_on_random_tiles(made, number), condition(made)
            )
        )
        if progress is not None:
            progress(done + 1, len(values))
    return tuple(sorted(found, key=lambda candidate: candidate.errors.mean))


def condition(made: Transforms) -> float:
    """The product of the 2-norm condition numbers of A^T, G and B^T."""
    return float(
        np.prod([np.linalg.cond(array(matrix)) for matrix in (made.output, made.filter, made.input)])
    )
