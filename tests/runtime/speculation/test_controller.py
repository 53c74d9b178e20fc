"""How many tokens are proposed: as many as pay, none where guessing costs more than it saves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewhisper.runtime.speculation.controller import (
    LEAST_GAIN,
    MOST_PROPOSED,
    AdaptiveLength,
    FixedLength,
    StepCosts,
    expected_gain,
)

CHEAP = StepCosts(tuple(1 + 0.05 * rows for rows in range(MOST_PROPOSED + 1)), first=0.1, further=0.1)
DEAR = StepCosts(tuple(1 + 0.5 * rows for rows in range(MOST_PROPOSED + 1)), first=0.6, further=0.6)


@given(acceptance=st.floats(0, 0.99), proposals=st.integers(1, MOST_PROPOSED), seed=st.integers(0, 2**16))
def test_the_expected_gain_is_that_of_simulated_decoding(
    acceptance: float, proposals: int, seed: int
) -> None:
    right = np.random.default_rng(seed).random((20_000, proposals)) < acceptance
    accepted = np.cumprod(right, axis=1).sum(axis=1)
    time = CHEAP.verification(proposals) + CHEAP.drafting(proposals)
    assert expected_gain(acceptance, proposals, CHEAP) == pytest.approx(
        (accepted.mean() + 1) / time, rel=0.06
    )


def decode(costs: StepCosts, acceptance: float, tokens: int, seed: int = 0) -> tuple[float, int]:
    """Speed-up over single steps of a text whose guesses are right with some probability, and the last length."""
    random, controller = np.random.default_rng(seed), AdaptiveLength(costs)
    said, time, length = 0, 0.0, 0
    while said < tokens:
        length = controller.length(0)
        drafted = 0
        while drafted < length:
            drafted += 1
            if not controller.goes_on(drafted, acceptance**drafted):
                break
        accepted = int(np.cumprod(random.random(drafted) < acceptance).sum()) if drafted else 0
        if drafted:
            controller.learn(drafted, accepted)
        said += accepted + 1
        time += costs.verification(drafted) + costs.drafting(drafted)
    return said / time, length


@pytest.mark.parametrize(("acceptance", "least"), [(0.95, 2.6), (0.85, 1.9), (0.75, 1.5)])
def test_good_drafts_pay(acceptance: float, least: float) -> None:
    gain, length = decode(CHEAP, acceptance, 2000)
    assert gain > least
    assert length > 1
    best = max(expected_gain(acceptance, k, CHEAP) for k in range(1, MOST_PROPOSED + 1))
    assert gain > 0.93 * best


@given(seed=st.integers(0, 1000))
def test_drafts_that_are_never_right_cost_three_per_cent_at_most(seed: int) -> None:
    gain, _ = decode(CHEAP, 0.0, 200, seed)
    assert gain > 0.97


def test_drafts_that_cost_more_than_they_save_are_left_alone() -> None:
    gain, length = decode(DEAR, 0.75, 500)
    assert gain > 0.97
    assert length == 0


def test_switched_off_it_tries_again_and_comes_back() -> None:
    controller = AdaptiveLength(CHEAP)
    while controller.length(0):
        controller.learn(4, 0)
    tried = 0
    for _ in range(400):
        if length := controller.length(0):
            tried += 1
            controller.learn(length, length)
    assert tried > 100
    assert controller.acceptance > 0.9


def test_a_fixed_length_is_kept_whatever_happens() -> None:
    controller = FixedLength(5)
    for _ in range(50):
        assert controller.length(0) == 5
        assert controller.goes_on(3, 0.001)
        controller.learn(5, 0)


def test_a_guess_must_bring_more_than_its_time_brings_otherwise() -> None:
    """Not just more than single steps: at an acceptance of one, CHEAP's time is worth several tokens."""
    controller = AdaptiveLength(CHEAP)
    for _ in range(50):
        controller.learn(4, 4)
    length = controller.length(0)
    worth = expected_gain(controller.acceptance, length, CHEAP)
    assert worth > 2
    more = CHEAP.verification(3) - CHEAP.verification(2) + CHEAP.further
    assert controller.goes_on(2, 1.1 * worth * more / controller.acceptance)
    assert not controller.goes_on(2, 0.9 * worth * more / controller.acceptance)


def test_an_unsure_draft_stops_early() -> None:
    controller = AdaptiveLength(CHEAP)
    assert controller.goes_on(1, 0.9)
    assert not controller.goes_on(1, 0.05)
    assert LEAST_GAIN > 1
