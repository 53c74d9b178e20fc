"""Logits rules, against those of transformers and openai-whisper."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewhisper.runtime.options import DecodingOptions
from edgewhisper.runtime.rules import (
    InitialTimestamp,
    LogitsRule,
    PreferTimestamps,
    SuppressAtBegin,
    SuppressTokens,
    TimestampPairs,
    rules_for,
)
from tests.scripted import AUDIO, BEGIN, END, NO_TIMESTAMPS, TOKENS, VOCAB_SIZE, Floats, row

PROMPT = (101, 102, 105)
text_token = st.integers(0, END - 1)
timestamp = st.integers(BEGIN, VOCAB_SIZE - 1)
any_token = st.one_of(text_token, timestamp, st.integers(END, BEGIN - 1))


def random_row(seed: int, timestamp_bias: float = 0.0) -> Floats:
    logits = np.random.default_rng(seed).normal(0, 4, VOCAB_SIZE).astype(np.float32)
    logits[BEGIN:] += timestamp_bias
    return logits


rows = st.builds(random_row, st.integers(0, 2**32), st.sampled_from((-12.0, -6.0, -3.0, 0.0, 6.0)))


def applied(rules: tuple[LogitsRule, ...], logits: Floats, sampled: list[int]) -> Floats:
    logits = logits.copy()
    for rule in rules:
        rule.apply(logits, sampled)
    return logits


def allowed(logits: Floats) -> set[int]:
    return set(np.flatnonzero(logits > -np.inf).tolist())


def transformers_rules(
    logits: Floats, sampled: list[int], max_initial_index: int | None, timestamps: bool
) -> Any:
    import torch
    from transformers.generation.logits_process import (
        SuppressTokensAtBeginLogitsProcessor,
        SuppressTokensLogitsProcessor,
        WhisperTimeStampLogitsProcessor,
    )

    config = SimpleNamespace(
        no_timestamps_token_id=NO_TIMESTAMPS,
        eos_token_id=END,
        bos_token_id=END,
        max_initial_timestamp_index=max_initial_index,
    )
    begin = len(PROMPT)
    processors: list[Any] = [
        SuppressTokensAtBeginLogitsProcessor(TOKENS.begin_suppress, begin_index=begin),
        SuppressTokensLogitsProcessor(TOKENS.suppress),
    ]
    if timestamps:
        processors.append(WhisperTimeStampLogitsProcessor(config, begin_index=begin))
    scores = torch.from_numpy(logits.copy())[None]
    for processor in processors:
        scores = processor(torch.tensor([[*PROMPT, *sampled]]), scores)
    return scores[0].numpy()


def openai_rules(logits: Floats, sampled: list[int], max_initial_index: int | None) -> Any:
    whisper = pytest.importorskip("whisper.decoding")
    import torch

    tokenizer = SimpleNamespace(
        no_timestamps=NO_TIMESTAMPS,
        timestamp_begin=BEGIN,
        eot=END,
        encode=lambda text: [token for token in TOKENS.begin_suppress if token != END],
    )
    filters = [
        whisper.SuppressBlank(tokenizer, len(PROMPT)),
        whisper.SuppressTokens(TOKENS.suppress),
        whisper.ApplyTimestampRules(tokenizer, len(PROMPT), max_initial_index),
    ]
    scores = torch.from_numpy(logits.copy())[None]
    for logits_filter in filters:
        logits_filter.apply(scores, torch.tensor([[*PROMPT, *sampled]]))
    return scores[0].numpy()


@given(logits=rows, sampled=st.lists(any_token, max_size=12), timestamps=st.booleans())
def test_rules_are_those_of_transformers(logits: Floats, sampled: list[int], timestamps: bool) -> None:
    rules = rules_for(DecodingOptions(timestamps=timestamps), TOKENS, AUDIO)
    expected = transformers_rules(logits, sampled, TOKENS.max_initial_timestamp_index, timestamps)
    assert np.array_equal(applied(rules, logits, sampled), expected)


@given(logits=rows, sampled=st.lists(any_token, max_size=12), max_initial=st.sampled_from((None, 0.2, 1.0)))
def test_rules_are_those_of_openai_whisper(
    logits: Floats, sampled: list[int], max_initial: float | None
) -> None:
    tokens = dataclasses.replace(TOKENS, max_initial_timestamp_index=None)
    rules = rules_for(DecodingOptions(max_initial_timestamp=max_initial), tokens, AUDIO)
    index = None if max_initial is None else round(max_initial / AUDIO.time_precision)
    assert np.array_equal(applied(rules, logits, sampled), openai_rules(logits, sampled, index))


@given(logits=rows, sampled=st.lists(any_token, max_size=12))
def test_a_rule_depends_on_its_own_prefix_only(logits: Floats, sampled: list[int]) -> None:
    used, fresh = (rules_for(DecodingOptions(), TOKENS, AUDIO) for _ in range(2))
    applied(used, random_row(0), [BEGIN + 3, 1, 2])
    applied(used, random_row(1), [])
    assert np.array_equal(applied(used, logits, sampled), applied(fresh, logits, sampled))


@given(logits=rows, sampled=st.lists(any_token, max_size=12))
def test_the_rules_always_leave_a_token(logits: Floats, sampled: list[int]) -> None:
    assert allowed(applied(rules_for(DecodingOptions(), TOKENS, AUDIO), logits, sampled))


def test_suppressed_tokens_are_forbidden_everywhere() -> None:
    for sampled in ([], [1], [1, 2]):
        assert allowed(applied((SuppressTokens((3, 5)),), row(), sampled)) == set(range(VOCAB_SIZE)) - {3, 5}


def test_blank_is_forbidden_at_the_beginning_only() -> None:
    rule = SuppressAtBegin((5, END))
    assert not allowed(applied((rule,), row(), [])) & {5, END}
    assert allowed(applied((rule,), row(), [1])) >= {5, END}


def test_the_first_token_is_an_early_timestamp() -> None:
    assert allowed(applied((InitialTimestamp(BEGIN, 2),), row(), [])) == {BEGIN, BEGIN + 1, BEGIN + 2}
    assert allowed(applied((InitialTimestamp(BEGIN, None),), row(), [])) == set(range(BEGIN, VOCAB_SIZE))


def test_after_a_segment_comes_its_successors_start_or_the_end() -> None:
    left = allowed(applied((TimestampPairs(BEGIN, END),), row(), [BEGIN, 1, BEGIN + 10]))
    assert left == set(range(END, BEGIN)) | set(range(BEGIN + 10, VOCAB_SIZE))


def test_after_a_pair_comes_no_timestamp() -> None:
    assert allowed(applied((TimestampPairs(BEGIN, END),), row(), [BEGIN, 1, BEGIN + 10, BEGIN + 12])) == set(
        range(BEGIN)
    )


def test_a_segment_does_not_end_where_it_begins() -> None:
    left = allowed(applied((TimestampPairs(BEGIN, END),), row(), [BEGIN + 10, 1]))
    assert left == set(range(BEGIN)) | set(range(BEGIN + 11, VOCAB_SIZE))


def test_timestamps_win_by_their_sum() -> None:
    # 101 timestamps of logit 0 weigh log(101) = 4.6 together.
    assert allowed(applied((PreferTimestamps(BEGIN),), row((3, 4.5)), [])) == set(range(BEGIN, VOCAB_SIZE))
    assert 3 in allowed(applied((PreferTimestamps(BEGIN),), row((3, 4.7)), []))


def test_options_replace_the_checkpoints_lists() -> None:
    options = DecodingOptions(timestamps=False, suppress_tokens=(9,), suppress_blank=False)
    assert allowed(applied(rules_for(options, TOKENS, AUDIO), row(), [])) == set(range(VOCAB_SIZE)) - {9}
