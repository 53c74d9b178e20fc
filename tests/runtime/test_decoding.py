"""The decoding loop on scripted logits."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewhisper.runtime.decoding import Decoded, DecodingLoop
from edgewhisper.runtime.options import DecodingOptions, Statistics
from edgewhisper.runtime.rules import LogitsRule, SuppressTokens, rules_for
from tests.scripted import (
    AUDIO,
    BEGIN,
    END,
    ENGLISH,
    NO_SPEECH,
    NO_TIMESTAMPS,
    PREVIOUS,
    START,
    TOKENS,
    TRANSCRIBE,
    VOCAB_SIZE,
    Floats,
    ScriptedDecoder,
    after_prompt,
    row,
    saying,
    sure,
)

PROMPT = (START, ENGLISH, TRANSCRIBE, NO_TIMESTAMPS)


def loop_on(
    decoder: ScriptedDecoder, rules: tuple[LogitsRule, ...] = (), max_tokens: int | None = None
) -> DecodingLoop:
    return DecodingLoop(
        decoder, TOKENS, rules, max_tokens=max_tokens, statistics=Statistics(), started=time.perf_counter()
    )


def decode(loop: DecodingLoop, prompt: tuple[int, ...] = PROMPT, temperature: float = 0.0) -> Decoded:
    return loop.run(loop.prefill(None, prompt), temperature, np.random.default_rng(0))


def test_decoding_stops_at_end_of_text() -> None:
    assert decode(loop_on(ScriptedDecoder(saying(1, 2, 3)))).tokens == (1, 2, 3)


def test_end_of_text_at_once_gives_no_tokens() -> None:
    assert decode(loop_on(ScriptedDecoder(saying()))).tokens == ()


@pytest.mark.parametrize("max_length", [6, 11, 40])
def test_prompt_and_tokens_fill_every_position_but_no_more(max_length: int) -> None:
    decoder = ScriptedDecoder(lambda cross, prefix: sure(1), max_length)
    assert len(decode(loop_on(decoder)).tokens) == max_length - len(PROMPT)
    assert decoder.length == max_length - 1  # the last token is never read


def test_max_tokens_limits_a_window() -> None:
    assert decode(loop_on(ScriptedDecoder(saying(1, 2, 3)), max_tokens=2)).tokens == (1, 2)


def test_each_token_is_read_once() -> None:
    decoder = ScriptedDecoder(saying(1, 2, 3))
    decode(loop_on(decoder))
    assert decoder.calls == [PROMPT, (1,), (2,), (3,)]


def test_a_repeated_decoding_does_not_read_the_prompt_again() -> None:
    decoder = ScriptedDecoder(saying(1, 2))
    loop = loop_on(decoder)
    prefilled = loop.prefill(None, PROMPT)
    first, second = (loop.run(prefilled, 0.0, np.random.default_rng(0)) for _ in range(2))
    assert first == second
    assert decoder.calls.count(PROMPT) == 1


def test_average_log_probability_counts_end_of_text() -> None:
    def script(cross: object, prefix: tuple[int, ...]) -> Floats:
        sampled = after_prompt(prefix)
        return row((1, 3.0)) if len(sampled) < 2 else row((END, 2.0))

    of_one = 3.0 - np.log(np.exp(3.0) + VOCAB_SIZE - 1)
    of_end = 2.0 - np.log(np.exp(2.0) + VOCAB_SIZE - 1)
    assert decode(loop_on(ScriptedDecoder(script))).avg_logprob == pytest.approx(
        (2 * of_one + of_end) / 3, abs=1e-6
    )


def test_average_log_probability_is_taken_after_the_rules() -> None:
    forbidden = tuple(range(10, VOCAB_SIZE))
    rules = (SuppressTokens([token for token in forbidden if token != END]),)
    decoded = decode(loop_on(ScriptedDecoder(lambda cross, prefix: row((END, 1.0))), rules))
    assert decoded.avg_logprob == pytest.approx(1.0 - np.log(np.exp(1.0) + 10), abs=1e-6)


def test_no_speech_is_read_right_after_start_of_transcript() -> None:
    def script(cross: object, prefix: tuple[int, ...]) -> Floats:
        return row((NO_SPEECH, 4.0)) if prefix[-1] == START else sure(END)

    decoded = decode(loop_on(ScriptedDecoder(script)), (PREVIOUS, 1, 2, *PROMPT))
    assert decoded.no_speech_prob == pytest.approx(np.exp(4.0) / (np.exp(4.0) + VOCAB_SIZE - 1), rel=1e-5)


@given(seed=st.integers(0, 2**32), timestamps=st.booleans())
def test_decoding_is_that_of_openai_whisper(seed: int, timestamps: bool) -> None:
    """Tokens, average log-probability and no-speech probability of its own decoding task, on the same logits."""
    whisper = pytest.importorskip("whisper.decoding")
    import torch

    def script(cross: object, prefix: tuple[int, ...]) -> Floats:
        logits = np.random.default_rng([seed, *prefix]).normal(0, 3, VOCAB_SIZE).astype(np.float32)
        logits[BEGIN:] -= 5
        logits[END] += 6
        return logits

    prompt = PROMPT[:-1] if timestamps else PROMPT
    tokenizer = SimpleNamespace(
        no_timestamps=NO_TIMESTAMPS,
        timestamp_begin=BEGIN,
        eot=END,
        no_speech=NO_SPEECH,
        encode=lambda text: [5],
    )
    task = object.__new__(whisper.DecodingTask)
    task.tokenizer, task.sample_begin, task.sot_index, task.n_ctx = tokenizer, len(prompt), 0, 40
    task.sample_len = 40 - len(prompt)
    task.decoder = whisper.GreedyDecoder(0.0, END)
    task.logit_filters = [
        whisper.SuppressBlank(tokenizer, len(prompt)),
        whisper.SuppressTokens(TOKENS.suppress),
        *([whisper.ApplyTimestampRules(tokenizer, len(prompt), 50)] if timestamps else []),
    ]

    def logits(tokens: torch.Tensor, features: object) -> torch.Tensor:
        prefix = tuple(tokens[0].tolist())
        return torch.from_numpy(np.stack([script(None, prefix[: i + 1]) for i in range(len(prefix))]))[None]

    task.inference = SimpleNamespace(logits=logits, cleanup_caching=lambda: None)
    tokens, sum_logprobs, no_speech = task._main_loop(torch.zeros(1), torch.tensor([prompt]))
    expected = tokens[0, len(prompt) :].tolist()
    expected = expected[: expected.index(END)] if END in expected else expected

    rules = rules_for(DecodingOptions(timestamps=timestamps), TOKENS, AUDIO)
    decoded = decode(loop_on(ScriptedDecoder(script), rules), prompt)
    assert list(decoded.tokens) == expected
    assert decoded.avg_logprob == pytest.approx(float(sum_logprobs[0]) / (len(expected) + 1), abs=1e-4)
    assert decoded.no_speech_prob == pytest.approx(no_speech[0], rel=1e-4)


def test_the_first_token_is_timed_once() -> None:
    statistics = Statistics()
    loop = DecodingLoop(
        ScriptedDecoder(saying(1, 2)),
        TOKENS,
        (),
        max_tokens=None,
        statistics=statistics,
        started=time.perf_counter(),
    )
    decode(loop)
    first = statistics.first_token_seconds
    decode(loop)
    assert first is not None
    assert statistics.first_token_seconds == first
    assert statistics.tokens == 6
