"""The choice of a token and its log-probability."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgewhisper.runtime.sampling import Greedy, Sampler, probability
from tests.scripted import Floats


def random_row(seed: int, size: int, n_forbidden: int) -> Floats:
    random = np.random.default_rng(seed)
    logits = random.normal(0, 5, size).astype(np.float32)
    logits[random.permutation(size)[:n_forbidden]] = -np.inf
    return logits


rows = st.builds(random_row, st.integers(0, 2**32), st.just(50), st.integers(0, 49))


def log_softmax(logits: Floats) -> NDArray[np.float64]:
    exact: NDArray[np.float64] = logits.astype(np.float64)
    shifted: NDArray[np.float64] = exact - exact.max()
    return shifted - float(np.log(np.exp(shifted).sum()))


@given(logits=rows)
def test_greedy_takes_the_likeliest_token(logits: Floats) -> None:
    token, logprob = Greedy(logits.size).choose(logits)
    assert token == logits.argmax()
    assert logprob == pytest.approx(log_softmax(logits)[token], abs=1e-5)


@pytest.mark.parametrize("temperature", [0.2, 1.0, 5.0])
@given(logits=rows, seed=st.integers(0, 1000))
def test_a_draw_is_allowed_and_has_the_untempered_log_probability(
    temperature: float, logits: Floats, seed: int
) -> None:
    token, logprob = Sampler(logits.size, temperature, np.random.default_rng(seed)).choose(logits)
    assert logits[token] > -np.inf
    assert logprob == pytest.approx(log_softmax(logits)[token], abs=1e-4)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.0])
def test_draws_follow_the_tempered_distribution(temperature: float) -> None:
    logits = np.array([1.0, 0.0, -np.inf, 2.0, -1.0], np.float32)
    sampler = Sampler(logits.size, temperature, np.random.default_rng(0))
    n_draws = 20_000
    counts = np.bincount([sampler.choose(logits)[0] for _ in range(n_draws)], minlength=logits.size)
    expected = np.exp(log_softmax(logits / np.float32(temperature)))
    # Half the sum of the deviations; each is within four standard deviations of a binomial.
    bound = 2 * np.sqrt(expected * (1 - expected) / n_draws).sum()
    assert np.abs(counts / n_draws - expected).sum() / 2 < bound


def test_equal_seeds_draw_equally() -> None:
    logits = random_row(0, 200, 20)
    draws = [
        [Sampler(200, 1.0, g).choose(logits) for _ in range(20)] for g in map(np.random.default_rng, (3, 3))
    ]
    assert draws[0] == draws[1]


@given(logits=rows, token=st.integers(0, 49))
def test_probability_is_softmax(logits: Floats, token: int) -> None:
    before = logits.copy()
    assert probability(logits, token) == pytest.approx(np.exp(log_softmax(logits)[token]), rel=1e-5)
    assert np.array_equal(logits, before)
