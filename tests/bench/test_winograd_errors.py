"""Errors of fast convolutions, as a run holds them."""

import pytest

from edgewhisper.bench.winograd import winograd_errors
from edgewhisper.export.winograd.points import CHOSEN


@pytest.mark.slow
def test_errors_are_smallest_near_the_points_that_the_project_takes() -> None:
    errors = winograd_errors()
    curves = {(error.form, error.precision) for error in errors}
    assert curves == {(form, number) for form in ("F(4,3)", "F(6,3)") for number in ("fp32", "fp16", "int8")}
    for form, tile in (("F(4,3)", 4), ("F(6,3)", 6)):
        found = [error for error in errors if (error.form, error.precision) == (form, "fp32")]
        best = min(found, key=lambda error: error.mean)
        assert best.c == pytest.approx(float(CHOSEN[tile, 3]), abs=0.06)
        assert all(error.mean <= error.largest for error in found)
