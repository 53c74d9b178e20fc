"""Two runs compared: ratios, what counts as worse, and what is said about it."""

from dataclasses import replace
from fractions import Fraction

import hypothesis
import pytest
from hypothesis import strategies as st

from edgewhisper.bench.comparison import (
    Comparison,
    Difference,
    Tolerance,
    compare,
    format_comparison,
    same_machine,
)
from edgewhisper.bench.run import Accuracy, Clip, Model, Run, Spread, Variant
from tests.bench.sample_runs import BOARD, SERVER, sample_run


def run_of(*variants: Variant, tokens: int = 200) -> Run:
    return Run("2026-01-01T00:00:00+00:00", SERVER, (Model("tiny", True, tokens, variants),))


def variant(name: str = "ours", **measured: object) -> Variant:
    return replace(Variant(name, "edgewhisper", "int8"), **measured)  # type: ignore[arg-type]


def differences(old: Variant, new: Variant, tolerance: Tolerance | None = None) -> dict[str, Difference]:
    (compared,) = compare(run_of(old), run_of(new), tolerance).variants
    return {each.quantity: each for each in compared.differences}


def test_a_run_compared_with_itself_is_the_same() -> None:
    found = compare(sample_run(), sample_run())
    assert not found.has_regression
    assert (found.only_old, found.only_new, found.warnings) == ((), (), ())
    assert {each.ratio for one in found.variants for each in one.differences} == {1.0}
    assert {one.verdict for one in found.variants} == {"same"}
    assert len(found.variants) == sum(len(model.variants) for model in sample_run().models)


def test_every_quantity_is_compared() -> None:
    full = replace(sample_run().models[0].variants[0], device=10**9)
    clips = [f"{clip.seconds:g} s of sound, s" for clip in full.clips]
    assert full.accuracy is not None
    assert [*differences(full, full)] == [
        *("load, s", "first token, ms", "encoder, ms", "ms/token", "window, ms", *clips),
        *("peak memory, MB", "GPU memory, MB", "disk, MB"),
        f"WER on {full.accuracy.corpus} ({full.accuracy.words} words), %",
    ]


def test_only_what_both_runs_measured_is_compared() -> None:
    old = variant(load=Spread.of([1.0]), clips=(Clip(5, 1, 1, 1), Clip(30, 2, 2, 1)))
    new = variant(token_ms=Spread.of([1.0]), clips=(Clip(30, 3, 3, 1),))
    assert {name: each.ratio for name, each in differences(old, new).items()} == {"30 s of sound, s": 1.5}


SIZES = st.integers(1, 40)
SPREADS = st.lists(SIZES, min_size=1, max_size=4).map(Spread.of)


def expected(old: Spread, new: Spread, percent: int) -> str:
    """The rule in exact numbers: all of one beside all of the other, and medians further apart than so many percent."""
    factor = 1 + Fraction(percent, 100)
    first, second = Fraction(old.median), Fraction(new.median)
    if second > factor * first and all(a < b for a in (old.median, old.high) for b in (new.median, new.low)):
        return "regression"
    if first > factor * second and all(a > b for a in (old.median, old.low) for b in (new.median, new.high)):
        return "improvement"
    return "same"


@hypothesis.given(SPREADS, SPREADS, st.sampled_from([0, 5, 10, 50]))
def test_times_count_beyond_tolerance_and_spread(old: Spread, new: Spread, percent: int) -> None:
    hypothesis.assume(
        Fraction(max(old.median, new.median))
        != (1 + Fraction(percent, 100)) * Fraction(min(old.median, new.median))
    )
    found = differences(variant(encoder_ms=old), variant(encoder_ms=new), Tolerance(times=percent / 100))
    assert found["encoder, ms"].verdict == expected(old, new, percent)
    assert found["encoder, ms"].ratio == pytest.approx(new.median / old.median)


@hypothesis.given(SPREADS, SPREADS)
def test_the_other_way_round_the_verdict_is_the_opposite(first: Spread, second: Spread) -> None:
    opposite = {"same": "same", "regression": "improvement", "improvement": "regression"}
    there = differences(variant(load=first), variant(load=second))["load, s"].verdict
    back = differences(variant(load=second), variant(load=first))["load, s"].verdict
    assert back == opposite[there]


@pytest.mark.parametrize("quantity", ["peak memory, MB", "disk, MB"])
@pytest.mark.parametrize(
    ("size", "verdict"), [(104, "same"), (106, "regression"), (96, "same"), (95, "improvement")]
)
def test_memory_has_a_tolerance_of_its_own(quantity: str, size: int, verdict: str) -> None:
    old = variant(peak=100_000_000, disk=100_000_000)
    assert differences(old, variant(peak=size * 10**6, disk=size * 10**6))[quantity].verdict == verdict


@pytest.mark.parametrize(("p50", "verdict"), [(1.15, "same"), (1.25, "regression")])
def test_a_clip_is_slower_when_its_median_is_beyond_the_95th_percentile(p50: float, verdict: str) -> None:
    old, new = variant(clips=(Clip(30, 1.0, 1.2, 9),)), variant(clips=(Clip(30, p50, 2.0, 9),))
    assert differences(old, new)["30 s of sound, s"].verdict == verdict


def accuracy(wer: float, corpus: str = "test") -> Accuracy:
    return Accuracy(corpus, 1000, wer, wer - 0.01, wer + 0.01, wer / 3)


@pytest.mark.parametrize(("wer", "verdict"), [(0.115, "same"), (0.125, "regression"), (0.075, "improvement")])
def test_error_rates_count_when_their_intervals_are_apart(wer: float, verdict: str) -> None:
    old, new = variant(accuracy=accuracy(0.1)), variant(accuracy=accuracy(wer))
    assert differences(old, new)["WER on test (1000 words), %"].verdict == verdict


def test_errors_on_another_corpus_are_not_compared() -> None:
    old, new = variant(accuracy=accuracy(0.1)), variant(accuracy=accuracy(0.5, "other"))
    assert differences(old, new) == {}


def test_there_is_no_ratio_to_nothing() -> None:
    (found,) = differences(
        variant(accuracy=replace(accuracy(0), low=0.0)), variant(accuracy=accuracy(0.5))
    ).values()
    assert (found.ratio, found.verdict) == (None, "regression")


def test_one_regression_is_enough() -> None:
    old = run_of(variant("a", load=Spread.of([1.0])), variant("b", load=Spread.of([1.0])))
    new = run_of(variant("a", load=Spread.of([0.5])), variant("b", load=Spread.of([2.0])))
    assert [each.verdict for each in compare(old, new).variants] == ["improvement", "regression"]
    assert compare(old, new).has_regression
    assert compare(new, old).has_regression
    assert not compare(old, run_of(new.models[0].variants[0])).has_regression


@pytest.mark.parametrize(
    ("old", "new", "verdict", "line"),
    [
        (None, "crashed", "regression", "regression: tiny, ours: fails now (crashed)"),
        ("crashed", None, "improvement", "improvement: tiny, ours: failed before (crashed)"),
        ("crashed", "no\nmemory", "same", "tiny, ours: still fails (no memory)"),
    ],
)
def test_a_variant_that_fails_now_is_a_regression(
    old: str | None, new: str | None, verdict: str, line: str
) -> None:
    found = compare(run_of(variant(failure=old)), run_of(variant(failure=new)))
    assert found.variants[0].verdict == verdict
    assert found.has_regression == (verdict == "regression")
    assert format_comparison(found) == line


def test_variants_that_only_one_run_has_are_listed() -> None:
    found = compare(run_of(variant("a"), variant("b")), run_of(variant("b"), variant("c")))
    assert found.only_old == (("tiny", "a"),)
    assert found.only_new == (("tiny", "c"),)
    assert "only in the old run: tiny, a" in format_comparison(found)
    assert "only in the new run: tiny, c" in format_comparison(found)


def test_variants_of_other_models_are_not_mixed_up() -> None:
    old = run_of(variant())
    new = replace(old, models=(replace(old.models[0], name="base"),))
    assert compare(old, new).variants == ()
    assert "no variant is in both runs" in format_comparison(compare(old, new))


def test_different_machines_are_warned_of() -> None:
    found = compare(sample_run(), sample_run(BOARD))
    (warning,) = found.warnings
    assert SERVER.processor in warning
    assert str(BOARD.board) in warning
    assert format_comparison(found).startswith("warning: different machines")


def test_new_software_makes_no_other_machine() -> None:
    assert same_machine(
        SERVER, replace(SERVER, system="Linux 7", python="3.14.0", memory=SERVER.memory - 4096)
    )
    assert not same_machine(SERVER, replace(SERVER, cores=SERVER.cores + 1))
    assert not same_machine(SERVER, replace(SERVER, processor="another"))


def test_settings_that_changed_are_warned_of() -> None:
    old = run_of(variant(options={"draft": "heads"}))
    new = run_of(variant(threads=4, precision="int4"), tokens=100)
    (warning,) = compare(old, new).warnings
    for expected in (
        "threads 2, then 4",
        "int8, then int4",
        "'draft': 'heads'",
        "tokens of the window 200, then 100",
    ):
        assert expected in warning


def test_a_run_that_was_throttled_is_warned_of() -> None:
    assert "new run" in compare(run_of(variant()), replace(run_of(variant()), throttled=True)).warnings[0]


def test_the_table_shows_both_values_their_ratio_and_the_verdict() -> None:
    old = run_of(variant(token_ms=Spread(2.0, 1.9, 2.1, 3)))
    new = run_of(variant(token_ms=Spread(3.0, 2.9, 3.1, 3, disturbed=1)))
    lines = format_comparison(compare(old, new)).splitlines()
    (row,) = (line for line in lines if "ms/token" in line)
    assert row.split() == ["tiny", "ours", "ms/token", "2", "3*", "1.50", "regression"]
    assert lines[-1].startswith("* ")


def test_nothing_compared_is_no_regression() -> None:
    assert not Comparison(()).has_regression


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("NVIDIA T4, driver 1", "NVIDIA T4, driver 2", True),
        ("NVIDIA T4, driver 1", "NVIDIA L4, driver 1", False),
        (None, "NVIDIA T4, driver 1", True),  # as of a run before there were any
    ],
)
def test_another_gpu_makes_another_machine_and_another_driver_none(
    first: str | None, second: str, same: bool
) -> None:
    old, new = (replace(SERVER, gpu=gpu) for gpu in (first, second))
    assert same_machine(old, new) == same_machine(new, old) == same
    warnings = compare(replace(sample_run(), machine=old), replace(sample_run(), machine=new)).warnings
    assert [second in warning for warning in warnings] == [True] * (not same)
