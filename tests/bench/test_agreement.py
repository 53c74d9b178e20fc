"""Whether two runs have the same ratios."""

from dataclasses import replace

from edgewhisper.bench.agreement import format_agreement, ratios
from edgewhisper.bench.comparison import compare, format_comparison
from edgewhisper.bench.run import Model, Run, Spread, Variant
from tests.bench.sample_runs import SERVER


def run_of(*variants: Variant) -> Run:
    return Run("2026-01-01T00:00:00+00:00", SERVER, (Model("tiny.en", True, 100, variants),))


def variant(name: str, window: float, token: float, /, **ratios: float) -> Variant:
    found = {quantity: Spread.of([value]) for quantity, value in ratios.items()}
    return Variant(
        name, "edgewhisper", "int8", ratios=found, window_ms=Spread.of([window]), token_ms=Spread.of([token])
    )


OLD = run_of(variant("a", 100, 4), variant("b", 200, 8), variant("c", 300, 12))


def test_a_machine_of_another_speed_changes_no_ratio() -> None:
    new = run_of(variant("a", 200, 8), variant("b", 400, 16), variant("c", 600, 24))
    assert {each.apart for each in ratios(OLD, new)} == {0.0}


def test_ratios_of_the_same_round_go_before_those_of_medians() -> None:
    new = run_of(variant("a", 100, 4), variant("b", 200, 8, window=2.5), variant("c", 300, 12))
    found = {(each.variant, each.quantity): each.apart for each in ratios(OLD, new)}
    assert found == {("b", "window"): 0.25, ("b", "token"): 0, ("c", "window"): 0, ("c", "token"): 0}


def test_how_many_agree_and_the_worst_are_said() -> None:
    new = run_of(variant("a", 100, 4), variant("b", 200, 12), variant("c", 320, 12))
    line = (
        "ratios to the first variant that agree within 10%: window 2 of 2, token 1 of 2; "
        "worst: tiny.en, b, token (2.00, then 3.00, 50%)"
    )
    assert format_agreement(ratios(OLD, new), 0.1) == line
    assert line in format_comparison(compare(OLD, new))


def test_runs_with_another_first_variant_have_nothing_to_agree_on() -> None:
    assert ratios(OLD, run_of(variant("b", 100, 4), variant("c", 200, 8))) == ()
    assert ratios(OLD, run_of()) == ()
    assert format_agreement((), 0.1) == ""


def test_an_unfinished_run_is_said_to_be_one() -> None:
    assert "the new run was ended before it was finished" in format_comparison(
        compare(OLD, replace(OLD, finished=False))
    )
