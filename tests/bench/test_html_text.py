"""What tables and plots are made of: numbers, shortened names, the Pareto front."""

import hypothesis
import pytest
from hypothesis import strategies as st

from edgewhisper.bench.html.pareto import pareto_front
from edgewhisper.bench.html.text import printable, shorten, significant
from tests.bench.html_pages import TEXTS

NUMBERS = st.integers(0, 6).map(float)


@hypothesis.given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=12))
def test_the_front_is_what_no_point_beats(points: list[tuple[float, ...]]) -> None:
    def beats(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
        return all(a <= b for a, b in zip(first, second, strict=True)) and any(
            a < b for a, b in zip(first, second, strict=True)
        )

    expected = [i for i, point in enumerate(points) if not any(beats(other, point) for other in points)]
    assert list(pareto_front(points)) == expected


@hypothesis.given(st.floats(1e-5, 1e8), st.sampled_from([1, -1]))
def test_three_digits_are_within_half_a_percent(value: float, sign: int) -> None:
    assert float(significant(sign * value)) == pytest.approx(sign * value, rel=0.0051)


@hypothesis.given(TEXTS, st.integers(5, 60))
def test_a_shortened_name_keeps_both_ends(text: str, length: int) -> None:
    short = shorten(text, length)
    assert len(short) <= length
    beginning, _, end = short.partition("…")
    assert short == printable(text) or (
        printable(text).startswith(beginning) and printable(text).endswith(end)
    )
