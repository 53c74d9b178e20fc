"""What the project's fast convolutions lose to rounding, against the scale of their points."""

from typing import get_args

from edgewhisper.export.winograd.accuracy import Number
from edgewhisper.export.winograd.points import TILES, search

from .run import WinogradError

_TAPS = 3
_STEPS = 14  # of c: a curve, not the search that chose the points


def winograd_errors() -> tuple[WinogradError, ...]:
    """Of F(4,3) and F(6,3) in each number format; takes some seconds. F(2,3) has no c to choose."""
    return tuple(
        WinogradError(
            f"F({TILES[tile]},{_TAPS})", candidate.c, number, candidate.errors.mean, candidate.errors.maximum
        )
        for tile in ("F4", "F6")
        for number in get_args(Number)
        for candidate in search(TILES[tile], _TAPS, number, _STEPS)
        if candidate.c is not None
    )
