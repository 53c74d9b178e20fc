"""The transforms compute correlations exactly, and the project's points lose little in floating point."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewhisper.export.winograd.accuracy import errors_on_random_tiles
from edgewhisper.export.winograd.points import search, transforms
from edgewhisper.export.winograd.transforms import Matrix, winograd

FRACTIONS = st.fractions(min_value=-4, max_value=4, max_denominator=9)


def _times(matrix: Matrix, vector: list[Fraction]) -> list[Fraction]:
    return [sum((a * b for a, b in zip(row, vector, strict=True)), start=Fraction(0)) for row in matrix]


@given(tile=st.integers(1, 7), taps=st.integers(1, 5), data=st.data())
def test_any_points_give_the_correlation_exactly(tile: int, taps: int, data: st.DataObject) -> None:
    size = tile + taps - 1
    points = data.draw(st.lists(FRACTIONS, min_size=size - 1, max_size=size - 1, unique=True))
    x = data.draw(st.lists(FRACTIONS, min_size=size, max_size=size))
    g = data.draw(st.lists(FRACTIONS, min_size=taps, max_size=taps))
    made = winograd(tile, taps, points)
    products = [a * b for a, b in zip(_times(made.input, x), _times(made.filter, g), strict=True)]
    expected = [sum((x[i + j] * g[j] for j in range(taps)), start=Fraction(0)) for i in range(tile)]
    assert _times(made.output, products) == expected


def test_a_point_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="must differ"):
        winograd(2, 3, [Fraction(0), Fraction(1), Fraction(1)])


def test_a_wrong_number_of_points_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 5 finite points, got 1"):
        winograd(4, 3, [Fraction(0)])


@pytest.mark.parametrize(("tile", "taps"), [(2, 3), (4, 3), (2, 2), (4, 2)])
def test_small_tiles_lose_at_most_a_millionth_in_fp32(tile: int, taps: int) -> None:
    assert errors_on_random_tiles(transforms(tile, taps), "fp32").maximum <= 1e-6


def test_a_searched_group_loses_less_than_integers_as_points() -> None:
    integers = winograd(4, 3, [Fraction(n) for n in (0, 1, -1, 2, -2)])
    best = search(4, 3, "fp32", steps=8)[0]
    assert best.errors.mean < 0.9 * errors_on_random_tiles(integers, "fp32").mean


def test_points_that_nearly_meet_are_never_the_best() -> None:
    found = search(4, 3, "fp32", steps=8)
    worst = found[-1]
    assert worst.c is not None
    assert worst.c == max(candidate.c or 0 for candidate in found)
    assert np.all(np.diff([candidate.errors.mean for candidate in found]) >= 0)
