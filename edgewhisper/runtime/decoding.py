"""The loop that turns one window's cross-attention keys and values into tokens."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgewhisper.artifact import TokenIds

from .options import Statistics
from .protocols import CrossKV, Decoder, Floats
from .rules import LogitsRule
from .sampling import Greedy, Sampler, TokenChooser, probability


@dataclass(frozen=True)
class Decoded:
    """The tokens of one window, decoded once."""

    tokens: tuple[int, ...]  # without the prompt and without end of text
    avg_logprob: float  # as openai-whisper counts it, see `DecodingLoop.run`
    no_speech_prob: float
    temperature: float


@dataclass(frozen=True)
class Prefilled:
    """A decoder that has read a window's prompt."""

    prompt_length: int
    first_row: Floats  # logits [vocab] of the first token
    no_speech_prob: float  # 0 for a vocabulary without <|nospeech|>


class DecodingLoop:
    """Decodes windows token by token, under the rules, with one decoder."""

    def __init__(
        self,
        decoder: Decoder,
        tokens: TokenIds,
        rules: Sequence[LogitsRule],
        *,
        max_tokens: int | None,
        statistics: Statistics,
        started: float,
    ) -> None:
        """Take what all windows have in common.

        Args:
            decoder: has the cache for itself while a window is decoded.
            tokens: the model's special tokens.
            rules: run on every row of logits, in this order.
            max_tokens: per window; None for as many as the cache holds.
            statistics: counts tokens, and the time to the first one since `started` (`time.perf_counter()`).
            started: when the transcription began.
        """
        self._decoder = decoder
        self._tokens = tokens
        self._rules = rules
        self._max_tokens = max_tokens
        self._statistics = statistics
        self._started = started

    def prefill(self, cross: CrossKV, prompt: Sequence[int]) -> Prefilled:
        """Read the prompt: [<|startofprev|> previous text] <|startoftranscript|> [language task] [<|notimestamps|>]."""
        # The last occurrence, as a prompt given as token ids may hold the same id.
        start = len(prompt) - 1 - prompt[::-1].index(self._tokens.start_of_transcript)
        self._decoder.reset(cross)
        rows = self._decoder.run(prompt, start)
        no_speech = self._tokens.no_speech
        return Prefilled(
            prompt_length=len(prompt),
            first_row=rows[-1].copy(),
            no_speech_prob=0.0 if no_speech is None else probability(rows[0], no_speech),
        )

    def run(
        self, prefilled: Prefilled, temperature: float, generator: "np.random.Generator | None" = None
    ) -> Decoded:
        """Decode after a prompt, until end of text or the last position; may be repeated with the same `prefilled`.

        A temperature above 0 needs a `generator`.

        A window may fill the decoder's positions, as in transformers; openai-whisper stops at half of them.

        The average log-probability is openai-whisper's: the sum over all tokens and end of text, after the rules, at
        temperature 1, divided by the number of tokens plus one. transformers divides by the tokens alone where end of
        text was not reached.
        """
        decoder, end_of_text = self._decoder, self._tokens.end_of_text
        row = prefilled.first_row.copy()
        chooser: TokenChooser = Greedy(row.size)
        if temperature > 0:
            assert generator is not None
            chooser = Sampler(row.size, temperature, generator)
        # The last token is never fed back, yet counts: transformers' max_length includes it.
        limit = decoder.max_length - prefilled.prompt_length
        if self._max_tokens is not None:
            limit = min(limit, self._max_tokens)
        decoder.rollback(prefilled.prompt_length)
        sampled: list[int] = []
        total_logprob = 0.0
        while True:
            for rule in self._rules:
                rule.apply(row, sampled)
            token, logprob = chooser.choose(row)
            total_logprob += logprob
            self._count_token()
            if token == end_of_text:
                break
            sampled.append(token)
            if len(sampled) >= limit:
                break
            row = decoder.run((token,), 0)[0]
        return Decoded(
            tokens=tuple(sampled),
            avg_logprob=total_logprob / (len(sampled) + 1),
            no_speech_prob=prefilled.no_speech_prob,
            temperature=temperature,
        )

    def _count_token(self) -> None:
        self._statistics.tokens += 1
        if self._statistics.first_token_seconds is None:
            self._statistics.first_token_seconds = time.perf_counter() - self._started
