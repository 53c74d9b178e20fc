"""Exactness: what a token's logits may and may not depend on."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgewhisper.errors import EdgeWhisperError
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.encoder import Encoder
from edgewhisper.runtime.session import SessionSettings
from tests.decoder_steps import in_drawn_steps, one_at_a_time
from tests.small_models import SMALL, export, random_checkpoint

TWO_THREADS = SessionSettings(threads=2)
token_lists = st.lists(st.integers(0, SMALL.vocab_size - 1), min_size=1, max_size=40)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    folder = tmp_path_factory.mktemp("graphs")
    manifest = export(random_checkpoint(), folder)
    features = np.random.default_rng(0).standard_normal((SMALL.n_mels, 200), dtype=np.float32)
    decoder = Decoder(folder, manifest, TWO_THREADS)
    decoder.reset(Encoder(folder, manifest, TWO_THREADS).run(features))
    return decoder


@given(tokens=token_lists, data=st.data())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_logits_do_not_depend_on_how_many_tokens_a_step_takes(
    decoder: Decoder, tokens: list[int], data: st.DataObject
) -> None:
    expected = one_at_a_time(decoder, tokens)
    assert np.array_equal(in_drawn_steps(decoder, tokens, data), expected)


@given(
    tokens=token_lists,
    rejected=st.lists(st.integers(0, SMALL.vocab_size - 1), min_size=1, max_size=16),
    data=st.data(),
)
@settings(deadline=None, max_examples=60)
def test_logits_do_not_depend_on_rejected_tokens(
    decoder: Decoder, tokens: list[int], rejected: list[int], data: st.DataObject
) -> None:
    expected = one_at_a_time(decoder, tokens)
    keep = data.draw(st.integers(0, len(tokens) - 1))
    decoder.rollback(0)
    if keep:
        decoder.run(tokens[:keep])
    first = decoder.run([tokens[keep], *rejected])[0].copy()
    decoder.rollback(keep + 1)
    assert np.array_equal(first, expected[keep])
    if keep + 1 < len(tokens):
        assert np.array_equal(decoder.run(tokens[keep + 1 :]), expected[keep + 1 :])


def test_the_cache_can_be_filled_to_its_last_position_one_token_at_a_time(decoder: Decoder) -> None:
    tokens = np.random.default_rng(1).integers(0, SMALL.vocab_size, SMALL.max_target_positions).tolist()
    steps = one_at_a_time(decoder, tokens)
    assert decoder.length == decoder.max_length == SMALL.max_target_positions
    decoder.rollback(0)
    assert np.array_equal(decoder.run(tokens), steps)


def test_one_token_too_many_is_an_error_and_changes_nothing(decoder: Decoder) -> None:
    decoder.rollback(0)
    decoder.run([1] * SMALL.max_target_positions)
    with pytest.raises(EdgeWhisperError, match=f"the cache holds {SMALL.max_target_positions}"):
        decoder.run([1])
    assert decoder.length == SMALL.max_target_positions


def test_repeated_single_rows_give_the_same_logits(decoder: Decoder) -> None:
    tokens = np.random.default_rng(2).integers(0, SMALL.vocab_size, SMALL.max_target_positions).tolist()
    expected = one_at_a_time(decoder, tokens)
    decoder.repeat_single_rows = True
    try:
        assert np.array_equal(one_at_a_time(decoder, tokens), expected)
        assert decoder.length == SMALL.max_target_positions
    finally:
        decoder.repeat_single_rows = False
